// SPDX-License-Identifier: Apache-2.0

/// What has become of the schema and of a tool's own ledger since before the tool ran for the first time in a run.
///
/// An exit status proves nothing: a tool may be killed after its last commit, or end well without having done anything.
public struct ToolChange: Hashable, Codable, Sendable {
    /// Whether anything of the schema is other than before: columns, constraints, indexes, functions, types.
    public var isSchemaChanged: Bool
    /// Entries of the ledger that were not there before, in its order.
    public var added: [String]
    /// Entries that were there before and are not now.
    public var removed: [String]

    public init(isSchemaChanged: Bool, added: [String], removed: [String]) {
        self.isSchemaChanged = isSchemaChanged
        self.added = added
        self.removed = removed
    }

    /// Whether nothing is other than before.
    public var isNone: Bool { !isSchemaChanged && added.isEmpty && removed.isEmpty }
}
