// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The node's own actions at moments in a release's life, by moment: what `release` of `agent.yaml` names.
public struct ReleaseActions: Hashable, Sendable {
    public enum Occasion: String, Hashable, Sendable, CaseIterable {
        /// Finishes a bundle in its private directory, before it is sealed.
        case build
        /// Brings a version onto the node.
        case fetch
        /// Makes a version the one that is served, and ends what was served before.
        case `switch`
        /// Prints the version that is served.
        case report
        /// Takes a version off the node.
        case remove
    }

    private var names: [Occasion: ActionName] = [:]

    public init() {}

    public subscript(moment: Occasion) -> ActionName? {
        get { names[moment] }
        set { names[moment] = newValue }
    }

    /// Whether this node can serve releases that are versions.
    public var areForVersions: Bool { self[.switch] != nil && self[.report] != nil }
}
