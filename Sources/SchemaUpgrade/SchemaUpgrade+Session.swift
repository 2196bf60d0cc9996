// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What a session says of itself, and what is set in it. One connection is kept from task to task.
extension SchemaUpgrade {
    static let name = "sluice"
    /// The first half of the advisory locks that every session of Sluice holds: one for its run, the next for its epoch.
    ///
    /// A name can be chosen by anybody; a lock ends with its session, is no row that outlives its owner, and can be taken
    /// before anything is installed. The number is `slui` in ASCII.
    private static let lockClass = 0x736C_7569
    /// The first half of the advisory lock that whoever goes through the fence with a pass holds.
    static let passLockClass = lockClass + 3

    /// The sessions of Sluice in this database, apart from this one, as rows of `pid`, `run` and `epoch`.
    static let otherSessions = """
        (SELECT pid, max(objid::bigint) FILTER (WHERE classid = \(lockClass)) AS run,
            max(objid::bigint) FILTER (WHERE classid = \(lockClass + 1)) AS epoch
        FROM pg_locks WHERE locktype = 'advisory' AND classid IN (\(lockClass), \(lockClass + 1)) AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pid <> pg_backend_pid() GROUP BY pid)
        """

    /// The locks of this session itself, a row each.
    static let ownSessionLocks = """
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid IN (\(lockClass), \(lockClass + 1)) AND objsubid = 2
            AND pid = pg_backend_pid() AND granted
        """

    /// Lets go of every advisory lock that is not Sluice's own, and takes these again where they are gone. A session's
    /// locks outlive transactions, and no rollback brings them back.
    static func ownLocksAlone(_ task: DatabaseTask) -> String {
        """
        SELECT pg_advisory_unlock_all() WHERE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
            AND pid = pg_backend_pid() AND granted
            AND NOT (classid IN (\(lockClass), \(lockClass + 1)) AND objsubid = 2));
        SELECT pg_advisory_lock_shared(\(lockClass + 1), \(Int32(clamping: task.epoch.rawValue))),
            pg_advisory_lock_shared(\(lockClass), hashtext(\(quotedLiteral(task.run.rawValue))))
            WHERE (SELECT count(*) FROM (\(ownSessionLocks)) AS m) < 2;
        """
    }

    /// The second half of the lock of the run with this name.
    static func runLock(of run: String) -> String { "hashtext(\(run))::oid::bigint" }

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
            ConnectionOptions(address: configuration.address, applicationName: SchemaUpgrade.name))
        // Before anything that an old server does not know.
        let version = try await opened.perform { $0.serverVersion }
        guard version >= 140_000 else {
            await opened.close()
            throw DatabaseFailure(
                code: "server-version",
                "PostgreSQL \(version / 10_000) is too old for the fence",
                advice: "PostgreSQL 14 or later is needed")
        }
        // From here on the task can be stopped.
        connection = opened
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

    /// Takes the locks of a task and names the session after it.
    func takeSessionLocks(_ task: DatabaseTask) async throws {
        lockedTask = nil
        alone = nil
        try await takingOwnLocks {
            _ = try await open().execute(SchemaUpgrade.sessionLockStatements(task))
        }
        lockedTask = task
    }

    private static func sessionLockStatements(_ task: DatabaseTask) -> String {
        """
        SET LOCAL lock_timeout = '\(patience)';
        SELECT pg_catalog.pg_advisory_unlock_all();
        SELECT pg_catalog.pg_advisory_lock_shared(\(lockClass + 1), \(Int32(clamping: task.epoch.rawValue)));
        SELECT pg_catalog.pg_advisory_lock_shared(\(lockClass), pg_catalog.hashtext(\(quotedLiteral(task.run.rawValue))));
        \(rename(task))
        """
    }

    /// A session that only looks has the lock of an epoch and none of a run: no run is in its way, and it is in no run's.
    static let lookLockStatements = """
        SET LOCAL lock_timeout = '\(patience)';
        SELECT pg_catalog.pg_advisory_lock_shared(\(lockClass + 1), 0);
        SET application_name = '\(name) look'
        """

    /// How long a lock of Sluice's own is waited for before it is looked who has it.
    private static let patience = "300ms"

    /// Does what waits for a lock of Sluice's own, again and again while others stand in the way, who are ended.
    ///
    /// Any role may take any advisory lock, so one that no session of Sluice ever takes that way is of no use to anybody but
    /// to hold up a run: the first two are only shared, the third belongs to superusers and the migrator.
    private func takingOwnLocks(_ body: () async throws -> Void) async throws {
        let deadline = deadline(.seconds(10))
        while true {
            if isCancelled || Task.isCancelled { throw CancellationError() }
            do {
                return try await body()
            } catch let error as PostgresError where error.isLockTimeout {
                let intruders = try await endIntruders()
                if ContinuousClock.now < deadline { continue }
                if intruders.isEmpty { throw error }
                throw DatabaseFailure(
                    code: "lock-timeout",
                    "an advisory lock of Sluice's own is held by "
                        + intruders.joined(separator: "; "),
                    advice: "end these, with ROLLBACK PREPARED where they are prepared")
            }
        }
    }

    /// Ends whoever holds, or queues for, a lock of Sluice's own without being a session of Sluice.
    ///
    /// - Returns: all of them. Prepared transactions cannot be ended without losing what they have written, nor superusers by
    ///   a migrator that is none.
    private func endIntruders() async throws -> [String] {
        let rows = try await open().execute(
            """
            SET LOCAL search_path = pg_catalog;
            SELECT CASE WHEN p.gid IS NOT NULL THEN format('role %s, prepared transaction %L', p.owner, p.gid)
                    ELSE format('role %s, application %s, process %s', coalesce(a.usename, '?'),
                        coalesce(nullif(a.application_name, ''), '(none)'), l.pid) END,
                CASE WHEN m.rolsuper OR r.rolsuper IS NOT TRUE AND pg_has_role(m.oid, 'pg_signal_backend', 'USAGE')
                    THEN pg_terminate_backend(a.pid) END
            FROM pg_locks AS l JOIN pg_roles AS m ON m.rolname = session_user
                LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
                LEFT JOIN (pg_locks AS x JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid)
                    ON l.pid IS NULL AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
                LEFT JOIN pg_roles AS r ON r.rolname = coalesce(a.usename, p.owner)
            WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.pid IS DISTINCT FROM pg_backend_pid()
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND CASE WHEN l.classid IN (\(SchemaUpgrade.lockClass), \(SchemaUpgrade.lockClass + 1)) THEN l.mode = 'ExclusiveLock'
                    ELSE l.classid = \(SchemaUpgrade.lockClass + 2) AND r.rolsuper IS NOT TRUE
                        AND r.oid IS DISTINCT FROM m.oid END
            ORDER BY 1 LIMIT 1000
            """)
        for name in rows.filter({ $0.isTrue(1) }).map({ $0.text(0) })
        where !intruders.contains(name) {
            intruders.append(name)
        }
        return rows.prefix(20).map { $0.text(0) }
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

    /// What there is of the schema `sluice`.
    enum Installation { case none, older, current, newer }

    /// Whether the schema `sluice` is there, of whatever version.
    func isInstalled() async throws -> Bool { try await findInstallation() != .none }

    private func findInstallation() async throws -> Installation {
        if let installation { return installation }
        let comment = try await open().query(
            """
            SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'sluice'
                AND starts_with(obj_description(oid, 'pg_namespace'), '\(FenceSchema.family)')
            """
        ).first?.text(0)
        let found: Installation =
            comment.map { FenceSchema.compare(toOwn: $0, isComplete: isComplete) } ?? .none
        // What is not there may be made by another run.
        if found != .none { installation = found }
        return found
    }

    /// Makes the schema `sluice`, in a transaction of its own, before anything waits for it.
    func install(_ task: DatabaseTask) async throws {
        if try await findInstallation() == .current { return }
        try await takingOwnLocks {
            _ = try await open().transaction { session in
                // Two runs may come to it at once.
                try session.execute(
                    """
                    SET LOCAL lock_timeout = '\(SchemaUpgrade.patience)';
                    SELECT pg_advisory_xact_lock(\(SchemaUpgrade.lockClass + 2), 0);
                    SET LOCAL lock_timeout = '10s';

                    """ + FenceSchema.install + claim(task))
            }
        }
        installation = .current
    }

    /// A schema of an older version is brought up to date before any task but preflight, which changes nothing.
    ///
    /// - Throws: `schema-newer` when a newer coordinator has made the schema: its functions are not to be replaced by older
    ///   ones, maybe under a fence that is up.
    func bringUpToDate(_ task: DatabaseTask) async throws {
        switch try await findInstallation() {
        case .none, .current: return
        case .older: if task.kind != .preflight { try await install(task) }
        case .newer:
            throw DatabaseFailure(
                code: "schema-newer",
                "a newer coordinator has worked on this database: its schema sluice is newer than version \(FenceSchema.version)",
                advice: "put the newer coordinator back, and let it end the run")
        }
    }
}

/// Checks the epoch and raises it to the task's, in the transaction that does the work.
///
/// Fails as `superseded` when a higher epoch has been here.
func claim(_ task: DatabaseTask) -> String { call("claim", task) }

/// Fails, in a transaction, as `fence-held` while the fence of another run is up.
func keepOut(_ task: DatabaseTask) -> String {
    "SELECT sluice.keep_out(\(quotedLiteral(task.run.rawValue)));\n"
}

/// A function of the schema `sluice` that takes epoch and run.
func call(_ function: String, _ task: DatabaseTask) -> String {
    "SELECT sluice.\(function)(\(task.epoch.rawValue), \(quotedLiteral(task.run.rawValue)));\n"
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
