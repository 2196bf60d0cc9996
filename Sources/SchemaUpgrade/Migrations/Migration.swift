// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// One step of the schema: a file `NNNN_name.up.sql` and perhaps its way back, `NNNN_name.down.sql`.
public struct Migration: Hashable, Sendable {
    /// When a migration is applied. The word stands in a comment at the head of the up file: `-- sluice: expand`.
    public enum Phase: String, Hashable, Sendable, CaseIterable {
        /// Online, before the write window: what the old code does not notice.
        case expand
        /// In the write window, all of them in one transaction. The default.
        case `switch`
        /// Online, after the lift: what only the old code still needed.
        case contract
    }

    /// The digits before the name, such as `0002`: four or more.
    public let version: String
    /// What stands between the version and `.up.sql`.
    public let name: String
    public let phase: Phase
    public let up: Script
    /// `nil` when there is no down file: this migration cannot be undone.
    public let down: Script?
    /// SHA-256 of the up file. An applied migration whose file has another digest stops a run.
    public let digest: Digest

    /// `0002_split_name`, as reports and messages have it.
    public var title: String { "\(version)_\(name)" }

    var number: Int { Int(version) ?? 0 }
}

/// The statements of one file, in order.
public struct Script: Hashable, Sendable {
    public let file: String
    public let statements: [Statement]

    /// Whether all statements may run in one transaction.
    public var isTransactional: Bool { statements.allSatisfy { $0.kind == .transactional } }
}

/// One statement of a migration, as PostgreSQL's own parser cut it.
public struct Statement: Hashable, Sendable {
    /// How a statement has to be run, and how it is known whether it took effect.
    public enum Kind: Hashable, Sendable {
        case transactional
        /// `CREATE INDEX CONCURRENTLY`: probed by the index and its validity.
        case createIndex(index: QualifiedName)
        /// `DROP INDEX CONCURRENTLY`: probed by the index.
        case dropIndex(index: QualifiedName)
        /// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY`: probed by the inheritance, finished with `FINALIZE`.
        case detachPartition(table: QualifiedName, partition: QualifiedName)
        /// `VACUUM`, `REINDEX … CONCURRENTLY`: nothing is lost by running it again.
        case repeatable
    }

    public let text: String
    public let place: Diagnostic.Place
    public let kind: Kind
}

/// A name as it stands in a statement: with its schema, or as the search path finds it.
public struct QualifiedName: Hashable, Sendable {
    public let schema: String?
    public let name: String

    public init(schema: String?, name: String) {
        self.schema = schema
        self.name = name
    }

    /// Quoted, ready for `to_regclass` and for SQL.
    var quoted: String {
        (schema.map { "\(quotedIdentifier($0))." } ?? "") + quotedIdentifier(name)
    }
}

/// An identifier in double quotes.
func quotedIdentifier(_ text: String) -> String {
    "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
        + "\""
}

/// A text as an SQL literal, with any setting of `standard_conforming_strings`.
func quotedLiteral(_ text: String) -> String {
    let quoted = text.split(separator: "'", omittingEmptySubsequences: false).joined(
        separator: "''")
    guard quoted.contains("\\") else { return "'\(quoted)'" }
    return "E'"
        + quoted.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
        + "'"
}
