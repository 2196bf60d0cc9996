// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The node's own actions on occasions of a release's life, by occasion: what `release` of `agent.yaml` names.
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
    /// Whether `switch` takes a version to the standby where SLUICE_DATABASE says so, and `report` prints `primary` or `standby` behind
    /// it.
    public var heedsDatabase = false

    public init() {}

    public subscript(occasion: Occasion) -> ActionName? {
        get { names[occasion] }
        set { names[occasion] = newValue }
    }

    /// Whether this node can serve releases that are versions.
    public var areForVersions: Bool { self[.switch] != nil && self[.report] != nil }
}
