// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// A session that has to end, or whose transaction has to.
struct Straggler: Hashable, Sendable {
    var process: String
    /// When the session began: a process number alone may come back as somebody else's.
    var session: String
    var description: String
    /// Who has logged in.
    var role = ""
    /// Role, application and the client's address, for people.
    var holder = ""
    /// It has no transaction number, and no lock but those of reading.
    var isQuiet = false
    /// The statement that it runs, or ran last, as ``FenceStatements/statement(_:_:)``.
    var statement = ""
}

extension SchemaUpgrade {
    /// Those who hold a lock that keeps a table from getting its trigger.
    func holdersOfUnfencedTables() async throws -> [Straggler] {
        try await stragglers(
            """
            a.pid IN (SELECT l.pid FROM pg_locks AS l WHERE l.granted AND l.relation IN (
                SELECT oid FROM sluice.unfenced_table) AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
            """)
    }

    /// Those who hold a lock on a table that still has its trigger.
    func holdersOfFencedTables() async throws -> [Straggler] {
        try await stragglers(
            """
            a.pid IN (SELECT l.pid FROM pg_locks AS l JOIN pg_trigger AS t ON t.tgrelid = l.relation
                WHERE l.granted AND t.tgname = '\(FenceSchema.trigger)')
            """)
    }

    /// Those who have written something that is not committed.
    func writers() async throws -> [Straggler] { try await stragglers("a.backend_xid IS NOT NULL") }

    /// Those of the stored transactions that have not ended.
    func older() async throws -> [Straggler] {
        try await stragglers(
            """
            EXISTS (SELECT FROM sluice.fence AS f, jsonb_to_recordset(f.older)
                    AS o (pid integer, session text, transaction text)
                WHERE a.pid = o.pid AND a.backend_start::text = o.session
                    AND coalesce(a.xact_start::text, 'unknown') = o.transaction)
            """)
    }

    func stragglers(_ condition: String) async throws -> [Straggler] {
        try await open().query(
            """
            SELECT a.pid, a.backend_start::text, \(FenceStatements.description), a.usename,
                concat_ws(', ', 'role ' || a.usename, 'application ' || coalesce(nullif(a.application_name, ''), '(none)'),
                    'from ' || host(a.client_addr)),
                a.backend_xid IS NULL AND a.state <> 'disabled' AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid
                    AND l.locktype NOT IN ('virtualxid', 'advisory') AND l.mode NOT IN ('AccessShareLock', 'SIReadLock')
                    AND (l.relation IS NULL OR l.relation NOT IN (\(RefusalCounters.ofAllRuns)))),
                \(FenceStatements.statement("a.pid", "a.query_start"))
            FROM pg_stat_activity AS a
            WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
                AND a.backend_type <> 'autovacuum worker' AND \(condition) ORDER BY a.pid
            """
        ).map {
            Straggler(
                process: $0.text(0), session: $0.text(1), description: $0.text(2), role: $0.text(3),
                holder: $0.text(4), isQuiet: $0.isTrue(5), statement: $0.text(6))
        }
    }

    /// Applies the straggler policy: ends all of them, or fails.
    ///
    /// - Parameter task: for the record of who was ended, when there is a fence to keep it with.
    func endStragglers(
        _ task: DatabaseTask?, _ stragglers: [Straggler], until deadline: ContinuousClock.Instant
    ) async throws {
        if stragglers.isEmpty { return }
        let names = stragglers.map(\.description)
        guard configuration.stragglers == .terminate else {
            throw DatabaseFailure(
                code: "stragglers",
                "\(names.count) transactions older than the fence did not end within \(configuration.drainTimeout): "
                    + names.prefix(20).joined(separator: "; "),
                advice: "end them, or let the plan terminate stragglers")
        }
        if task != nil {
            let list = "ARRAY[\(names.map(quotedLiteral).joined(separator: ", "))]::text[]"
            try await open().query("UPDATE sluice.fence SET ended = ended || \(list)")
        }
        try await end(stragglers, until: deadline)
    }

    /// Signals all of them, then waits until they are gone.
    ///
    /// - Throws: `stragglers` when they do not end, or when they are superusers and the migrator is none.
    func end(_ stragglers: [Straggler], until deadline: ContinuousClock.Instant) async throws {
        let names = stragglers.map(\.description)
        let processes = "{\(stragglers.map(\.process).joined(separator: ","))}"
        let alive = """
            FROM pg_stat_activity AS a JOIN unnest($1::integer[], $2::text[]) AS s (pid, session)
                ON a.pid = s.pid AND a.backend_start::text = s.session
            """
        let sessions = "{\(stragglers.map { "\"\($0.session)\"" }.joined(separator: ","))}"
        let beyond = try await open().query(
            """
            SELECT a.pid, CASE WHEN m.rolsuper OR r.rolsuper IS NOT TRUE THEN pg_terminate_backend(a.pid) END \(alive)
                JOIN pg_roles AS m ON m.rolname = session_user LEFT JOIN pg_roles AS r ON r.oid = a.usesysid
            """, [processes, sessions]
        ).filter { $0[1] == nil }.map { $0.text(0) }
        while true {
            let left = try await open().query("SELECT a.pid \(alive)", [processes, sessions])
                .map { $0.text(0) }
            if left.isEmpty { return }
            try checkCancellation()
            // They have had their time already, and nobody tells them to end.
            guard ContinuousClock.now < deadline, !left.allSatisfy(beyond.contains) else {
                throw SchemaUpgrade.undying(names, beyond)
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// - Parameter beyond: the processes that the migrator may not end.
    static func undying(_ names: [String], _ beyond: [String]) -> DatabaseFailure {
        let list = names.prefix(20).joined(separator: "; ")
        if beyond.isEmpty {
            return DatabaseFailure(
                code: "stragglers", "told to end, but still there: \(list)",
                advice: "look at these processes on the server")
        }
        let statements = beyond.prefix(5).map { "SELECT pg_terminate_backend(\($0))" }
        return DatabaseFailure(
            code: "stragglers",
            "still there, and superusers' among them, whom the migrator, who is none, cannot end: \(list)",
            advice:
                "let them end, or end them as a superuser: \(statements.joined(separator: "; "))")
    }
}
