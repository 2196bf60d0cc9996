// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The latest run of each fleet, and which node takes its directive from which.
///
/// The runs are in a list and not in a dictionary of values: looked up there, each question would copy a whole run.
public struct RunTable: Sendable {
    /// One of each fleet; an ended run still says what its nodes should be.
    private(set) var list: [Run] = []
    private var byFleet: [FleetName: Int] = [:]
    private var fleets: [NodeName: FleetName] = [:]

    /// - Parameter runs: the latest run of each fleet, folded, and every run that has not ended.
    init(_ runs: [Run] = []) {
        for run in runs.sorted(by: { $0.createdAt < $1.createdAt }) { adopt(run) }
    }

    /// By fleet.
    public var runs: [FleetName: Run] { byFleet.mapValues { list[$0] } }

    public func run(_ identifier: RunIdentifier) -> Run? { index(of: identifier).map { list[$0] } }

    /// The run that a node takes its directive from.
    public func run(of node: NodeName) -> Run? { index(ofRunOf: node).map { list[$0] } }

    func run(of fleet: FleetName) -> Run? { byFleet[fleet].map { list[$0] } }

    /// All indices, in the order of their fleets.
    var indicesByFleet: [Int] { list.indices.sorted { list[$0].fleet < list[$1].fleet } }

    var nextDeadline: Instant? { list.indices.compactMap { list[$0].nextDeadline }.min() }

    func index(of identifier: RunIdentifier) -> Int? {
        list.indices.first { list[$0].identifier == identifier }
    }

    func index(of fleet: FleetName) -> Int? { byFleet[fleet] }

    func index(ofRunOf node: NodeName) -> Int? { fleets[node].flatMap { byFleet[$0] } }

    mutating func adopt(_ run: Run) {
        if let index = byFleet[run.fleet] {
            list[index] = run
        } else {
            byFleet[run.fleet] = list.count
            list.append(run)
        }
        // A node that this run does not name goes on with what the last one told it.
        fleets = fleets.filter { $0.value != run.fleet }
        for node in run.members.keys { fleets[node] = run.fleet }
    }

    /// Applies a fact to a run.
    mutating func apply(_ recorded: RecordedEvent, at index: Int) {
        list[index].apply(recorded)
        if case .nodeJoined(let fact) = recorded.event { fleets[fact.node] = list[index].fleet }
    }

    mutating func noteLead(at index: Int, since now: Instant) { list[index].ledSince = now }
    mutating func markRead(at index: Int) { list[index].isUnread = false }
}
