// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The latest run of each fleet, and which node takes its directive from which.
public struct RunTable: Sendable {
    /// An ended run still says what its nodes should be.
    public internal(set) var runs: [FleetName: Run] = [:]
    private var fleets: [NodeName: FleetName] = [:]

    /// - Parameter runs: the latest run of each fleet, folded, and every run that has not ended.
    init(_ runs: [Run] = []) {
        for run in runs.sorted(by: { $0.createdAt < $1.createdAt }) { adopt(run) }
    }

    public func run(_ identifier: RunIdentifier) -> Run? {
        runs.values.first { $0.identifier == identifier }
    }

    /// The run that a node takes its directive from.
    public func run(of node: NodeName) -> Run? { fleets[node].flatMap { runs[$0] } }

    func fleet(of node: NodeName) -> FleetName? { fleets[node] }

    mutating func adopt(_ run: Run) {
        runs[run.fleet] = run
        // A node that this run does not name goes on with what the last one told it.
        fleets = fleets.filter { $0.value != run.fleet }
        for node in run.members.keys { fleets[node] = run.fleet }
    }

    /// Applies a fact to the run of a fleet.
    mutating func apply(_ recorded: RecordedEvent, to fleet: FleetName) {
        runs[fleet]?.apply(recorded)
        if case .nodeJoined(let fact) = recorded.event { fleets[fact.node] = fleet }
    }
}
