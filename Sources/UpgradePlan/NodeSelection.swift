// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// Which nodes of a fleet a plan upgrades. Never "all": what selects nothing is refused.
public enum NodeSelection: Hashable, Sendable {
    /// These nodes. In a `Plan`: at least one, sorted, each once.
    case names([NodeName])
    /// The nodes that carry every one of these labels. In a `Plan`: at least one label.
    case labels([String: String])

    /// Whether a node with these labels belongs to the selection.
    public func selects(_ node: NodeName, labels carried: [String: String]) -> Bool {
        switch self {
        case .names(let names): names.contains(node)
        case .labels(let wanted): wanted.allSatisfy { carried[$0.key] == $0.value }
        }
    }

    func normalized() -> NodeSelection {
        switch self {
        case .names(let names):
            precondition(!names.isEmpty, "an empty selection is an error, never all")
            return .names(Set(names).sorted())
        case .labels(let labels):
            precondition(!labels.isEmpty, "an empty selection is an error, never all")
            return self
        }
    }
}
