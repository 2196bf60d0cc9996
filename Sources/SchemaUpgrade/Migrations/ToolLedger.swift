// SPDX-License-Identifier: Apache-2.0

import PostgresClient
public import UpgradeModel

/// Where a migration tool of the application writes down what it has done.
public struct ToolLedger: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        /// `django_migrations`: an entry is `app.name`.
        case django
        /// `schema_migrations`, of Rails and of others that have a column `version`.
        case rails
        /// `alembic_version`: the current heads, not a history.
        case alembic
        /// `flyway_schema_history`: what has not succeeded is there as well.
        case flyway
        /// A query of the plan's: rows of an entry and, if there is a second column, whether it is complete.
        case query(String)
    }

    public var kind: Kind
    /// The schema that the tool's table is in.
    public var schema: String

    public init(_ kind: Kind, schema: String = "public") {
        self.kind = kind
        self.schema = schema
    }

    /// The tool's table; `nil` for a query, which names its own.
    var table: QualifiedTable? {
        let name: String
        switch kind {
        case .django: name = "django_migrations"
        case .rails: name = "schema_migrations"
        case .alembic: name = "alembic_version"
        case .flyway: name = "flyway_schema_history"
        case .query: return nil
        }
        return QualifiedTable(schema: schema, name: name)
    }

    struct QualifiedTable: Hashable, Sendable {
        var schema: String
        var name: String
        var quoted: String { "\(quotedIdentifier(schema)).\(quotedIdentifier(name))" }
    }

    /// Rows of an entry and whether it is complete.
    var question: String {
        let from = table.map { " FROM \($0.quoted)" } ?? ""
        switch kind {
        case .django: return "SELECT app || '.' || name, true\(from)"
        case .rails: return "SELECT version::text, true\(from)"
        case .alembic: return "SELECT version_num::text, true\(from)"
        case .flyway: return "SELECT coalesce(version, script)::text, success\(from)"
        case .query(let sql): return sql
        }
    }
}

/// What a tool's ledger says at one moment.
public struct ToolLedgerState: Hashable, Sendable {
    public var entries: Set<String>
    /// Entries that the tool has begun and not ended, by its own word.
    public var unfinished: Set<String>

    public init(entries: Set<String>, unfinished: Set<String> = []) {
        self.entries = entries
        self.unfinished = unfinished
    }

    init(_ rows: Rows) {
        self.init(entries: [])
        for row in rows {
            if row.cells.count > 1, row[1] == "f" {
                unfinished.insert(row.text(0))
            } else {
                entries.insert(row.text(0))
            }
        }
    }
}

/// What a tool has done, found by looking: an exit status proves nothing, and a killed tool has none.
public enum ToolOutcome: Hashable, Sendable {
    /// Everything that was to be done.
    case done
    /// The ledger is what it was before.
    case nothingDone
    /// Something, and not all. `missing` is empty when nobody knows what was to be done.
    case partlyDone(applied: [String], missing: [String], unfinished: [String])

    /// - Parameters:
    ///   - expected: what the ledger has to say in the end; `nil` when nobody knows, as with tools that cannot tell.
    ///   - endedWell: the tool said itself that it was done. Counts only where `expected` is not known.
    public static func of(
        before: ToolLedgerState, after: ToolLedgerState, expected: Set<String>?, endedWell: Bool
    ) -> ToolOutcome {
        let isUnchanged = before == after
        if after.unfinished.isEmpty {
            if let expected {
                // What was there before and is not expected may stay: tools squash and prune.
                if expected.isSubset(of: after.entries) { return .done }
            } else if endedWell {
                return .done
            }
        }
        if isUnchanged { return .nothingDone }
        return .partlyDone(
            applied: after.entries.subtracting(before.entries).sorted(),
            missing: (expected ?? []).subtracting(after.entries).sorted(),
            unfinished: after.unfinished.sorted())
    }

    /// The same for a way back: the ledger has to say again what it said before.
    public static func ofWayBack(
        origin: ToolLedgerState, before: ToolLedgerState, after: ToolLedgerState
    ) -> ToolOutcome {
        if after == origin { return .done }
        if after == before { return .nothingDone }
        return .partlyDone(
            applied: before.entries.subtracting(after.entries).sorted(),
            missing: after.entries.subtracting(origin.entries).sorted(),
            unfinished: after.unfinished.sorted())
    }
}

extension SchemaUpgrade {
    /// Reads a tool's ledger as it is now. A table that is not there has no entries: the tool has never run.
    ///
    /// A plan's query runs as the owner of the application's tables, and read only.
    ///
    /// - Throws: ``DatabaseFailure``.
    public func look(at ledger: ToolLedger, for task: DatabaseTask) async throws(DatabaseFailure)
        -> ToolLedgerState
    {
        do {
            try await prepareSession(for: task)
            let entrance = try await surroundings().entrance(isLocal: true)
            let state = try await open().transaction { session in
                try session.execute("SET TRANSACTION READ ONLY; " + entrance)
                if let table = ledger.table {
                    let found = try session.query(
                        "SELECT pg_catalog.to_regclass($1)", [table.quoted])
                    if found[0][0] == nil { return ToolLedgerState(entries: []) }
                }
                return ToolLedgerState(try session.query(ledger.question))
            }
            try await resetSession(task)
            return state
        } catch {
            throw failure(from: error)
        }
    }
}
