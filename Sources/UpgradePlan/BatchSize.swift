// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A number of nodes, or a share of the nodes of a run.
public enum BatchSize: Hashable, Sendable, CustomStringConvertible {
    /// In a `Plan`: at least 1.
    case nodes(Int)
    /// In a `Plan`: 1 to 100, of all nodes of the run and not of those that are left.
    case percent(Int)

    /// `5` or `25%`
    public var description: String {
        switch self {
        case .nodes(let count): "\(count)"
        case .percent(let share): "\(share)%"
        }
    }

    var isValid: Bool {
        switch self {
        case .nodes(let count): Limits.nodes.contains(count)
        case .percent(let share): (1...100).contains(share)
        }
    }

    /// The count as a batch: a share is rounded up, so that every batch moves on.
    func roundedUp(of total: Int) -> Int {
        switch self {
        case .nodes(let count): count
        case .percent(let share): max(1, (total * share + 99) / 100)
        }
    }

    /// The count as a bound: a share is rounded down, so that it is never exceeded, yet at least 1.
    func roundedDown(of total: Int) -> Int {
        switch self {
        case .nodes(let count): count
        case .percent(let share): max(1, total * share / 100)
        }
    }
}

/// A run was asked to go over no node at all.
///
/// An empty set of nodes is an error, never "all" and never "done".
public struct EmptySelection: Error, Hashable, Sendable, CustomStringConvertible {
    public init() {}

    public var description: String {
        "the plan selects no node; compare its names or labels with the nodes that the coordinator knows"
    }
}

extension Plan.Rollout {
    /// The nodes in the order of the rollout: the canary, then each batch.
    ///
    /// The same set gives the same batches whatever the order of the argument: by name, each node once.
    /// A share is of all the nodes, rounded up; no batch exceeds `maxUnavailable`, rounded down, but each
    /// has at least one node. The last size repeats until no node is left.
    ///
    /// - Throws: `EmptySelection` when there is no node.
    public func batches(of nodes: [NodeName]) throws(EmptySelection) -> [[NodeName]] {
        let ordered = Set(nodes).sorted()
        guard !ordered.isEmpty else { throw EmptySelection() }
        let bound = maxUnavailable?.roundedDown(of: ordered.count) ?? ordered.count
        var sizes = [canary] + batches.map { $0.roundedUp(of: ordered.count) }
        let repeated = sizes[sizes.count - 1]
        var result: [[NodeName]] = []
        var rest = ordered[...]
        sizes.reverse()
        while !rest.isEmpty {
            let size = min(sizes.popLast() ?? repeated, bound)
            result.append(Array(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        return result
    }
}
