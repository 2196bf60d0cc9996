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
        /// `_prisma_migrations`: what has begun and not ended is there as well.
        case prisma
        /// `tabPatch Log`, of Frappe.
        case frappe
        /// A query of the plan's: rows of an entry and, if there is a second column, whether it is complete; the last one last.
        case query(String)
    }

    public var kind: Kind
    /// The schema that the tool's table is in; `nil`: where migrations look first.
    public var schema: String?

    public init(_ kind: Kind, schema: String? = nil) {
        self.kind = kind
        self.schema = schema
    }

    /// The tool's table, quoted; `nil` for a query, which names its own.
    var table: String? {
        let name: String
        switch kind {
        case .django: name = "django_migrations"
        case .rails: name = "schema_migrations"
        case .alembic: name = "alembic_version"
        case .flyway: name = "flyway_schema_history"
        case .prisma: name = "_prisma_migrations"
        case .frappe: name = "tabPatch Log"
        case .query: return nil
        }
        return (schema.map { "\(quotedIdentifier($0))." } ?? "") + quotedIdentifier(name)
    }

    /// Rows of an entry and whether it is complete, in the order in which they were done.
    var question: String {
        let from = table.map { " FROM \($0)" } ?? ""
        switch kind {
        case .django: return "SELECT app || '.' || name, true\(from) ORDER BY id"
        case .rails:
            // By number, as the tool counts: '99' is long before '20260101000000'. What is no number (`1-name`, of a plugin of Redmine)
            // is nothing to go back to, and comes first.
            return
                "SELECT version::text, true\(from) ORDER BY version::text ~ '^[0-9]+$', substring(version::text FROM '^[0-9]+')::numeric NULLS FIRST, 1"
        case .alembic: return "SELECT version_num::text, true\(from) ORDER BY 1"
        case .flyway:
            return "SELECT coalesce(version, script)::text, success\(from) ORDER BY installed_rank"
        case .prisma:
            return
                "SELECT migration_name, finished_at IS NOT NULL\(from) WHERE rolled_back_at IS NULL ORDER BY started_at"
        case .frappe: return "SELECT patch, true\(from) ORDER BY creation"
        case .query(let sql): return sql
        }
    }

    /// What the tool is told to go back to: the last entry, or all of them where there are several lines of them.
    func heads(of entries: [String]) -> [String] {
        switch kind {
        case .alembic: return entries
        case .django:
            var last: [(app: Substring, entry: String)] = []
            for entry in entries {
                let app = entry.prefix { $0 != "." }
                last.removeAll { $0.app == app }
                last.append((app, entry))
            }
            return last.map(\.entry)
        case .rails, .flyway, .prisma, .frappe, .query: return entries.suffix(1)
        }
    }
}

/// What a tool's ledger says at one moment.
public struct ToolLedgerState: Hashable, Sendable {
    public var entries: Set<String>
    /// Entries that the tool has begun and not ended, by its own word.
    public var unfinished: Set<String>
    /// The entries in their order.
    var ordered: [String]

    public init(entries: Set<String>, unfinished: Set<String> = []) {
        self.entries = entries
        self.unfinished = unfinished
        ordered = entries.sorted()
    }

    init(_ rows: Rows) {
        self.init(entries: [])
        for row in rows {
            if row.cells.count > 1, row[1] == "f" {
                unfinished.insert(row.text(0))
            } else if entries.insert(row.text(0)).inserted {
                ordered.append(row.text(0))
            }
        }
    }

    public static func == (left: Self, right: Self) -> Bool {
        left.entries == right.entries && left.unfinished == right.unfinished
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(entries)
        hasher.combine(unfinished)
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
            return try await read(ledger)
        } catch {
            throw failure(from: error)
        }
    }

    /// The same on the session of the task under way, which is left as it was.
    func read(_ ledger: ToolLedger) async throws -> ToolLedgerState {
        struct RolledBack: Error { var state: ToolLedgerState }
        let entrance = try await surroundings().entrance(isLocal: true)
        do {
            return try await open().transaction { session -> ToolLedgerState in
                try session.execute("SET TRANSACTION READ ONLY; " + entrance)
                if let table = ledger.table {
                    let found = try session.query("SELECT pg_catalog.to_regclass($1)", [table])
                    if found[0][0] == nil {
                        throw RolledBack(state: ToolLedgerState(entries: []))
                    }
                }
                throw RolledBack(state: ToolLedgerState(try session.query(ledger.question)))
            }
        } catch let found as RolledBack {
            return found.state
        }
    }
}
