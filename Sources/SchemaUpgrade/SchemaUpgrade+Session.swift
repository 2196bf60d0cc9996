// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What a session says of itself, and what is set in it. One connection is kept from task to task.
extension SchemaUpgrade {
    static let name = "sluice"

    /// Settings that hold for all statements of Sluice. Those of a superuser are skipped for others, so that preflight can say
    /// what is missing. The planner takes questions about the catalogs for dear ones, and a compilation (`jit`) costs fifteen times
    /// what it saves: closing all rights took 95 ms with it and 7 ms without.
    static let settings = """
        SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed';
        SET default_transaction_deferrable = off; SET search_path = pg_catalog; SET statement_timeout = 0;
        SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0; SET client_min_messages = warning;
        SET standard_conforming_strings = on; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';
        SET row_security = on; SET client_connection_check_interval = '1s'; SET lock_timeout = '2s';
        SET jit = off;
        SELECT set_config('deadlock_timeout', '20ms', false), set_config('session_replication_role', 'origin', false)
            FROM pg_roles WHERE rolname = session_user AND rolsuper;
        SELECT set_config(name, '0', false) FROM (VALUES ('transaction_timeout')) AS later (name)
            WHERE current_setting(name, true) IS NOT NULL;
        """

    /// A session for this task: open, named after its epoch, and without any older one of Sluice beside it.
    ///
    /// Who else is there is asked once a session, for it takes as long as the rest of a task in the window. Whoever comes later
    /// ends this session when it is of a higher epoch, and finds its locks when it is not; and what changes the database checks the
    /// epoch itself.
    func prepareSession(for task: DatabaseTask) async throws {
        if let connection {
            do {
                if alone?.run == task.run, alone?.epoch == task.epoch {
                    // Whether it is there still.
                    _ = try await connection.query("SELECT")
                } else {
                    try await endOlderSessions(task)
                }
                return
            } catch let error as PostgresError where error.isConnectionLost {
                // It ended while it was idle, so nothing is lost.
                await close()
            }
        }
        // The locks first: until they are there, other runs take this session for a stranger's.
        try await connect { try await self.takeSessionLocks(task) }
        try await endOlderSessions(task)
    }

    /// Opens the session and sets what it needs.
    ///
    /// - Parameter takeLocks: takes those that say whose session it is, before anything else.
    func connect(_ takeLocks: () async throws -> Void) async throws {
        let opened = try await PostgresConnection.connect(
            ConnectionOptions(address: address, applicationName: SchemaUpgrade.name))
        try await adopt(opened, takeLocks)
    }

    /// Makes a connection the session.
    func adopt(_ opened: PostgresConnection, _ takeLocks: () async throws -> Void) async throws {
        // Before anything that an old server does not know.
        let (version, backend) = try await opened.perform { session in
            (session.serverVersion, session.processIdentifier)
        }
        guard version >= 140_000 else {
            await opened.close()
            throw DatabaseFailure(
                code: "server-version",
                "PostgreSQL \(version / 10_000) is too old for the fence",
                advice: "PostgreSQL 14 or later is needed")
        }
        // Before anything is left in a session that a pooler would lend to others.
        let server = try await opened.query("SELECT pg_catalog.pg_backend_pid()")[0].integer(0)
        guard server == Int64(backend) else {
            // The pooler would keep this session open as the migrator's, and the next preflight would find it.
            _ = try? await opened.query(
                "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())")
            await opened.close()
            throw DatabaseFailure(
                code: "pooler", "a pooler stands between the coordinator and the server",
                advice: "give the coordinator the server's own address")
        }
        // From here on the task can be stopped.
        connection = opened
        process = backend
        lockedTask = nil
        alone = nil
        installation = nil
        do {
            try await takeLocks()
            let found = try await opened.perform { session in
                let row = try session.query(
                    """
                    SELECT pg_catalog.current_setting('search_path'), session_user, rolsuper FROM pg_catalog.pg_roles
                    WHERE rolname OPERATOR(pg_catalog.=) session_user
                    """)[0]
                try session.execute(SchemaUpgrade.settings)
                return row
            }
            searchPath = found.text(0)
            migrator = found.text(1)
            isComplete = found.isTrue(2)
        } catch {
            await close()
            throw error
        }
    }

    /// Takes the locks of this session, and ends the sessions that an earlier or a lost attempt of this run has left.
    ///
    /// They may still be migrating for a client that died long ago. A session of a higher epoch, or its row in the database,
    /// means that this leader has been replaced. Sessions of other runs are left alone, whatever they call themselves.
    private func endOlderSessions(_ task: DatabaseTask) async throws {
        let connection = try open()
        let run = quotedLiteral(task.run.rawValue)
        if lockedTask?.run != task.run || lockedTask?.epoch != task.epoch {
            try await takeSessionLocks(task)
        }
        var question = """
            SELECT 'process ' || a.pid, l.epoch,
                CASE WHEN l.epoch <= \(task.epoch.rawValue) THEN pg_terminate_backend(a.pid) END
            FROM \(SchemaUpgrade.otherSessions) AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
            WHERE a.usename = session_user AND l.run = \(SchemaUpgrade.runLock(of: run))
            """
        if try await isInstalled() {
            question +=
                " UNION ALL SELECT 'run ' || run, epoch, NULL FROM sluice.epoch WHERE epoch > \(task.epoch.rawValue)"
        }
        let deadline = deadline(.seconds(10))
        while true {
            let found = try await connection.query(question)
            if found.isEmpty {
                alone = task
                return
            }
            if let higher = found.first(where: { ($0.integer(1) ?? 0) > task.epoch.rawValue }) {
                throw DatabaseFailure(
                    code: "superseded",
                    "epoch \(task.epoch.rawValue) has been replaced by epoch \(higher.text(1)) (\(higher.text(0)))",
                    advice: "another coordinator leads; this one must stop")
            }
            guard ContinuousClock.now < deadline else {
                throw DatabaseFailure(
                    code: "migrator-shared",
                    "\(found[0].text(0)) of an earlier attempt does not end",
                    advice: "end it on the server")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    static func rename(_ task: DatabaseTask) -> String {
        // At most 63 bytes arrive, so a long run's name is cut. It is for people; the locks say whose the session is.
        let name = "\(name) \(task.run.rawValue.prefix(32)) epoch \(task.epoch.rawValue)"
        return "SET application_name = \(quotedLiteral(name))"
    }

    /// Goes through the motions of the fence once, before the window, so that in it the session's caches and plans are there.
    ///
    /// Whatever stands in the way does not matter: it is rolled back in any case.
    func warmUp(_ task: DatabaseTask) async {
        struct RolledBack: Error {}
        _ = try? await open().transaction { session in
            try session.execute(
                "SET LOCAL lock_timeout = '10ms';" + keepOut(task)
                    + "SELECT sluice.close_rights(); SELECT sluice.open_rights()")
            throw RolledBack()
        }
    }
}

/// Asks again for a moment while there is an answer: sessions that have just come or gone are not yet as they will be.
func settled<Answer>(
    within span: Span, _ question: () async throws -> [Answer]
) async throws -> [Answer] {
    let deadline = ContinuousClock.now.advanced(by: span.duration)
    while true {
        let answers = try await question()
        if answers.isEmpty || ContinuousClock.now >= deadline { return answers }
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// A pause of random length, so that two who wait for each other do not meet again.
func pause(upTo milliseconds: Int) async throws {
    try await Task.sleep(
        for: .milliseconds(Int.random(in: max(1, milliseconds / 2)...max(1, milliseconds))))
}
