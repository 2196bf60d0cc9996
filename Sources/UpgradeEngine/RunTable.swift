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

    public func run(_ identifier: RunIdentifier) -> Run? { place(of: identifier).map { list[$0] } }

    /// The run that a node takes its directive from.
    public func run(of node: NodeName) -> Run? { place(ofRunOf: node).map { list[$0] } }

    func run(of fleet: FleetName) -> Run? { byFleet[fleet].map { list[$0] } }

    /// All places, in the order of their fleets.
    var places: [Int] { list.indices.sorted { list[$0].fleet < list[$1].fleet } }

    var nextDeadline: Instant? { list.indices.compactMap { list[$0].nextDeadline }.min() }

    func place(of identifier: RunIdentifier) -> Int? {
        list.indices.first { list[$0].identifier == identifier }
    }

    func place(of fleet: FleetName) -> Int? { byFleet[fleet] }

    func place(ofRunOf node: NodeName) -> Int? { fleets[node].flatMap { byFleet[$0] } }

    mutating func adopt(_ run: Run) {
        if let place = byFleet[run.fleet] {
            list[place] = run
        } else {
            byFleet[run.fleet] = list.count
            list.append(run)
        }
        // A node that this run does not name goes on with what the last one told it.
        fleets = fleets.filter { $0.value != run.fleet }
        for node in run.members.keys { fleets[node] = run.fleet }
    }

    /// Applies a fact to a run.
    mutating func apply(_ recorded: RecordedEvent, at place: Int) {
        list[place].apply(recorded)
        if case .nodeJoined(let fact) = recorded.event { fleets[fact.node] = list[place].fleet }
    }

    mutating func noteLead(at place: Int, since now: Instant) { list[place].ledSince = now }
    mutating func markRead(at place: Int) { list[place].isUnread = false }
}
