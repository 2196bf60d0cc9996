// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// One step of the schema: a file `NNNN_name.up.sql` and perhaps its way back, `NNNN_name.down.sql`.
public struct Migration: Hashable, Sendable {
    /// The digits before the name, such as `0002`: four or more.
    public let version: String
    /// What stands between the version and `.up.sql`.
    public let name: String
    /// What the comment at the head of the up file says.
    public let header: MigrationHeader
    public let up: Script
    /// `nil` when there is no down file: this migration cannot be undone.
    public let down: Script?
    /// SHA-256 of the up file. An applied migration whose file has another digest stops a run.
    public let digest: Digest

    public var phase: MigrationPhase { header.phase }

    /// `0002_split_name`, as reports and messages have it.
    public var title: String { "\(version)_\(name)" }

    /// The version as a number: `0002` and `00002` are the same.
    public var number: Int { Int(version) ?? 0 }
}

/// The statements of one file, in order.
public struct Script: Hashable, Sendable {
    public let file: String
    public let statements: [Statement]
    /// The file says `transaction=none`.
    public let refusesTransaction: Bool
    /// The file says `repeat=…`.
    public let batches: MigrationHeader.Batches?

    /// Whether all statements run in one transaction; otherwise one by one.
    public var isTransactional: Bool {
        !refusesTransaction && statements.allSatisfy { $0.kind.isTransactional }
    }
}

/// One statement of a migration, as PostgreSQL's own parser cut it.
public struct Statement: Hashable, Sendable {
    /// How a statement has to be run, and how it is known whether it took effect.
    public enum Kind: Hashable, Sendable {
        case transactional
        /// `DO` and `CALL`: may end transactions by themselves when they are run outside one.
        case block
        /// Newer than the parser; only a server can say whether it is SQL. Run like `transactional`.
        case unknown
        /// `CREATE INDEX CONCURRENTLY`: known by its definition.
        case createIndex(IndexDefinition)
        /// `DROP INDEX CONCURRENTLY`: done when there is no such index.
        case dropIndex(index: QualifiedName)
        /// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY`: known by the inheritance, finished with `FINALIZE`.
        case detachPartition(table: QualifiedName, partition: QualifiedName)
        /// `VACUUM`, `REINDEX … CONCURRENTLY`: nothing is lost by running it again.
        ///
        /// `isQuiet`: while it waits for a lock it keeps no reader and no writer out.
        case repeatable(isQuiet: Bool)

        /// Whether the statement may run in a transaction.
        public var isTransactional: Bool {
            switch self {
            case .transactional, .block, .unknown: true
            case .createIndex, .dropIndex, .detachPartition, .repeatable: false
            }
        }

        /// Whether its waits for locks keep nobody out who reads or writes, so that they need no bound of their own.
        public var waitsQuietly: Bool {
            switch self {
            case .createIndex, .dropIndex, .detachPartition: true
            case .repeatable(let isQuiet): isQuiet
            case .transactional, .block, .unknown: false
            }
        }
    }

    public let text: String
    public let position: Diagnostic.Position
    public let kind: Kind
    /// For a statement with `IF NOT EXISTS`: what it says of that which may be there.
    public let existing: ExistingObject?
    /// For `SET` and `RESET`: what it says of the session.
    public let setting: SessionSetting?
}

/// What `CREATE INDEX CONCURRENTLY` says.
public struct IndexDefinition: Hashable, Sendable {
    /// Always with a name. Its schema is the table's.
    public let index: QualifiedName
    public let table: QualifiedName
    /// The same statement for the table ``probe``, without `CONCURRENTLY`: what PostgreSQL makes of it can be compared with an
    /// index that is there.
    public let probing: String
    /// The table that ``probing`` is for.
    public static let probe = "pg_temp.\"sluice probe\""

    public init(index: QualifiedName, table: QualifiedName, probing: String) {
        self.index = index
        self.table = table
        self.probing = probing
    }
}

/// A name as it stands in a statement: with its schema, or as the search path finds it.
public struct QualifiedName: Hashable, Sendable, CustomStringConvertible {
    public let schema: String?
    public let name: String

    public init(schema: String?, name: String) {
        self.schema = schema
        self.name = name
    }

    public var description: String { (schema.map { "\($0)." } ?? "") + name }
}

extension Statement {
    /// Whether it changes rows and says how many, so that a file with `repeat` repeats it.
    public var changesRows: Bool {
        kind == .transactional
            && ["INSERT", "UPDATE", "DELETE", "MERGE", "WITH"].contains(
                SQLText.words(text).first ?? "")
    }

    /// The position of a character of the statement, counted from 1 as the server counts.
    public func position(ofCharacter character: Int) -> Diagnostic.Position {
        var position = position
        for scalar in text.unicodeScalars.prefix(max(0, character - 1)) {
            if scalar == "\n" {
                position.line += 1
                position.column = 1
            } else {
                position.column += 1
            }
        }
        return position
    }
}
