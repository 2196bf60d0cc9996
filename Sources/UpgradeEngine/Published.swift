// SPDX-License-Identifier: Apache-2.0

public import RunStore
public import UpgradeModel
public import UpgradePlan

/// What is stored, for everybody who asks: the core may be ahead of it while an append is under way.
///
/// It holds no more than what is asked for, and takes each `Ready` in once that is stored.
public struct Published: Sendable {
    public private(set) var table: RunTable
    public private(set) var directives: [NodeName: Directive]
    /// The latest status of each node under this leader, and when it came.
    public private(set) var statuses: [NodeName: Observations.Seen]
    public private(set) var inventory: [NodeName: NodeRecord]

    /// What a core says that has taken nothing in yet.
    public init(_ core: CoordinatorCore) {
        table = core.table
        directives = core.directives
        statuses = core.observations.seen
        inventory = core.inventory
    }

    public mutating func apply(_ ready: Ready) {
        for append in ready.appends { apply(append) }
        directives.merge(ready.directives) { $1 }
        statuses.merge(ready.statuses) { $1 }
        if let inventory = ready.inventory { self.inventory = inventory }
    }

    private mutating func apply(_ append: RunAppend) {
        for event in append.events {
            if case .created(let created) = event {
                Run(created, at: append.at).map { table.adopt($0) }
            } else if let index = table.index(of: append.run) {
                table.apply(
                    RecordedEvent(at: append.at, epoch: append.epoch, event: event), at: index)
            }
        }
    }

    /// The latest run of each fleet.
    public var runs: [FleetName: Run] { table.runs }

    public func run(_ identifier: RunIdentifier) -> Run? { table.run(identifier) }

    /// The run that a node takes its directive from.
    public func run(of node: NodeName) -> Run? { table.run(of: node) }

    /// The nodes that a selection means now, sorted.
    public func nodes(selectedBy selection: NodeSelection) -> [NodeName] {
        switch selection {
        case .names(let names): names
        case .labels:
            inventory.values.filter { selection.selects($0.name, labels: $0.labels) }.map(\.name)
                .sorted()
        }
    }
}
