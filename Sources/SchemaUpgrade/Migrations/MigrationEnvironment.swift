// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// One script to run, and what it means for the ledger.
enum Step: Sendable {
    case apply(Migration, Script)
    case undo(Migration, Script)

    var migration: Migration {
        switch self {
        case .apply(let migration, _), .undo(let migration, _): migration
        }
    }

    var script: Script {
        switch self {
        case .apply(_, let script), .undo(_, let script): script
        }
    }
}

/// A statement of a migration failed, at a place of its file.
struct StatementFailure: Error {
    var place: Diagnostic.Place
    var error: PostgresError

    var databaseFailure: DatabaseFailure {
        let reason: String =
            if case .server(let server) = error { server.description } else { error.description }
        return DatabaseFailure(
            code: error.isLockTimeout ? "lock-timeout" : "sql",
            "\(place.file):\(place.line):\(place.column): \(reason)",
            advice: error.isLockTimeout
                ? "look for long transactions in pg_stat_activity, then retry"
                : "mend the migration, then start anew",
            findings: [Diagnostic(.error, code: "sql", at: place, reason)])
    }
}

/// How the statements of migrations are run on a session.
struct MigrationEnvironment: Sendable {
    var task: DatabaseTask
    var searchPath: String
    var owner: String?
    var lockTimeout: Span

    /// Runs the steps and writes the ledger, inside the caller's transaction.
    ///
    /// While a fence is up, the migrations see all rights as they will be after the lift, and what they change or create is
    /// closed again before the commit; nobody else ever sees the rights open. The migrator passes every fence, so it keeps out
    /// of another run's write window itself.
    ///
    /// - Parameter needsCensus: fail as `fence-down` unless a census has proved that nobody writes.
    func run(_ steps: [Step], _ session: borrowing Session, needsCensus: Bool) throws -> [String] {
        let fence = try session.execute(
            "SET LOCAL lock_timeout = '\(lockTimeout.milliseconds)ms'; " + claim(task)
                + "SELECT state, census_transaction FROM sluice.keep_out(\(quotedLiteral(task.run.rawValue)))"
        ).first
        let isFenced = fence?[0] != nil
        guard !needsCensus || (fence?[0] == "up" && fence?[1] != nil) else {
            throw DatabaseFailure(
                code: "fence-down",
                "the fence is not up, or no census has proved that nobody writes",
                advice: "raise the fence and take the census first")
        }
        if isFenced { try session.query("SELECT sluice.open_rights()") }
        var lines: [String] = []
        for step in steps {
            let clock = ContinuousClock()
            let began = clock.now
            try enter(session)
            for statement in step.script.statements { try run(statement, session) }
            try leave(session, step)
            lines.append(
                try record(step, Span(began.duration(to: clock.now)).milliseconds, session))
        }
        if isFenced {
            let left = try session.execute(
                """
                SELECT sluice.close_rights(); SELECT sluice.fence_tables(\(SchemaUpgrade.tablesAtOnce));
                SELECT oid::regclass::text FROM sluice.unfenced_table
                """)
            if let table = left.first {
                throw DatabaseFailure(
                    code: "fence-down", "table \(table.text(0)) could not be fenced")
            }
        }
        return lines
    }

    /// Runs one statement outside a transaction, unless it has taken effect already.
    func runAlone(_ statement: Statement, _ session: borrowing Session) throws {
        try session.execute("SET lock_timeout = '\(lockTimeout.milliseconds)ms'")
        try session.query("SELECT set_config('search_path', $1, false)", [searchPath])
        if let owner { try session.execute("SET ROLE \(quotedIdentifier(owner))") }
        do {
            switch try probe(statement, session) {
            case .done: break
            case .run: try session.execute(statement.text)
            case .runAfter(let preparation):
                try session.execute(preparation)
                try session.execute(statement.text)
            case .runInstead(let other): try session.execute(other)
            }
        } catch let error as PostgresError {
            try? leaveAlone(session)
            throw StatementFailure(place: statement.place(of: error), error: error)
        }
        try leaveAlone(session)
    }

    /// Writes or removes the ledger's row.
    func record(_ step: Step, _ milliseconds: Int64, _ session: borrowing Session) throws -> String
    {
        let migration = step.migration
        switch step {
        case .apply:
            try session.query(
                """
                INSERT INTO sluice.migration (version, name, digest, phase, epoch, run, milliseconds)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                """,
                [
                    migration.version, migration.name, migration.digest.hexadecimal,
                    migration.phase.rawValue,
                    "\(task.epoch.rawValue)", task.run.rawValue, "\(milliseconds)",
                ])
            return "applied \(migration.title) (\(milliseconds) ms)"
        case .undo:
            try session.query(
                "DELETE FROM sluice.migration WHERE version = $1", [migration.version])
            return "undid \(migration.title) (\(milliseconds) ms)"
        }
    }

    private enum Probe {
        case done, run
        case runAfter(String)
        case runInstead(String)
    }

    private func probe(_ statement: Statement, _ session: borrowing Session) throws -> Probe {
        switch statement.kind {
        case .transactional, .block, .unknown, .repeatable: return .run
        case .createIndex(let definition):
            let index = definition.index
            let found = try indexValidity(index, statement, session)
            guard let found else { return .run }
            // What a broken attempt left is of no use to anybody.
            return found ? .done : .runAfter("DROP INDEX CONCURRENTLY \(index.quoted)")
        case .dropIndex(let index):
            let found = try session.query("SELECT pg_catalog.to_regclass($1)", [index.quoted])
            return found[0][0] == nil ? .done : .run
        case .detachPartition(let table, let partition):
            let found = try session.query(
                """
                SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhparent = pg_catalog.to_regclass($1)
                    AND inhrelid = pg_catalog.to_regclass($2)
                """, [table.quoted, partition.quoted])
            guard let row = found.first else { return .done }
            return row.isTrue(0)
                ? .runInstead(
                    "ALTER TABLE \(table.quoted) DETACH PARTITION \(partition.quoted) FINALIZE")
                : .run
        }
    }

    /// Whether an index is valid; `nil` when there is none.
    private func indexValidity(
        _ index: QualifiedName, _ statement: Statement, _ session: borrowing Session
    ) throws -> Bool? {
        try session.query(
            "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1)",
            [index.quoted]
        ).first?.isTrue(0)
    }

    private func enter(_ session: borrowing Session) throws {
        try session.query("SELECT set_config('search_path', $1, true)", [searchPath])
        if let owner { try session.execute("SET LOCAL ROLE \(quotedIdentifier(owner))") }
    }

    private func run(_ statement: Statement, _ session: borrowing Session) throws {
        do {
            try session.execute(statement.text)
        } catch {
            throw StatementFailure(place: statement.place(of: error), error: error)
        }
    }

    /// Back to the migrator and its settings; deferred constraints speak now, while the file to blame is known.
    private func leave(_ session: borrowing Session, _ step: Step) throws {
        do {
            try session.execute(
                """
                SET CONSTRAINTS ALL IMMEDIATE; RESET SESSION AUTHORIZATION; RESET ROLE;
                SET LOCAL search_path = pg_catalog; SET LOCAL standard_conforming_strings = on;
                SET LOCAL lock_timeout = '\(lockTimeout.milliseconds)ms'; SET LOCAL session_replication_role = origin
                """)
        } catch {
            let last =
                step.script.statements.last?.place
                ?? .init(file: step.script.file, line: 1, column: 1)
            throw StatementFailure(place: last, error: error)
        }
    }

    private func leaveAlone(_ session: borrowing Session) throws {
        try session.execute("RESET ROLE; SET search_path = pg_catalog")
    }
}

extension Statement {
    /// Where in the file the server's finger points, or where the statement begins.
    func place(of error: PostgresError) -> Diagnostic.Place {
        guard case .server(let server) = error, let position = server.position else { return place }
        return place(ofCharacter: position)
    }
}
