// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// The first halves of the advisory locks of Sluice. The second is the run, the epoch, 0, or the key of a pass.
///
/// A name can be chosen by anybody; a lock ends with its session, is no row that outlives its owner, and can be taken
/// before anything is installed. The number is `slui` in ASCII.
enum LockClass {
    /// Every session of Sluice holds one for its run and one for its epoch.
    static let run = 0x736C_7569
    static let epoch = run + 1
    /// Whoever makes the schema `sluice`.
    static let installation = run + 2
    /// Whoever goes through the fence with a pass.
    static let pass = run + 3
}

/// The advisory locks that say whose a session is.
extension SchemaUpgrade {
    /// The sessions of Sluice in this database, apart from this one, as rows of `pid`, `run` and `epoch`.
    static let otherSessions = """
        (SELECT pid, max(objid::bigint) FILTER (WHERE classid = \(LockClass.run)) AS run,
            max(objid::bigint) FILTER (WHERE classid = \(LockClass.epoch)) AS epoch
        FROM pg_locks WHERE locktype = 'advisory' AND classid IN (\(LockClass.run), \(LockClass.epoch)) AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pid <> pg_backend_pid() GROUP BY pid)
        """

    /// The locks of this session itself, a row each.
    static let ownSessionLocks = """
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid IN (\(LockClass.run), \(LockClass.epoch)) AND objsubid = 2
            AND pid = pg_backend_pid() AND granted
        """

    /// Lets go of every advisory lock that is not Sluice's own, and takes these again where they are gone. A session's
    /// locks outlive transactions, and no rollback brings them back.
    static func ownLocksAlone(_ task: DatabaseTask) -> String {
        """
        SELECT pg_advisory_unlock_all() WHERE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
            AND pid = pg_backend_pid() AND granted
            AND NOT (classid IN (\(LockClass.run), \(LockClass.epoch)) AND objsubid = 2));
        SELECT pg_advisory_lock_shared(\(LockClass.epoch), \(Int32(clamping: task.epoch.rawValue))),
            pg_advisory_lock_shared(\(LockClass.run), hashtext(\(quotedLiteral(task.run.rawValue))))
            WHERE (SELECT count(*) FROM (\(ownSessionLocks)) AS m) < 2;
        """
    }

    /// The second half of the lock of the run with this name.
    static func runLock(of run: String) -> String { "hashtext(\(run))::oid::bigint" }

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
        SET LOCAL lock_timeout = '\(ownLockTimeout)';
        SELECT pg_catalog.pg_advisory_unlock_all();
        SELECT pg_catalog.pg_advisory_lock_shared(\(LockClass.epoch), \(Int32(clamping: task.epoch.rawValue)));
        SELECT pg_catalog.pg_advisory_lock_shared(\(LockClass.run), pg_catalog.hashtext(\(quotedLiteral(task.run.rawValue))));
        \(rename(task))
        """
    }

    /// A session that only looks has the lock of an epoch and none of a run: no run is in its way, and it is in no run's.
    static let lookLockStatements = """
        SET LOCAL lock_timeout = '\(ownLockTimeout)';
        SELECT pg_catalog.pg_advisory_lock_shared(\(LockClass.epoch), 0);
        SET application_name = '\(name) look'
        """

    /// How long a lock of Sluice's own is waited for before it is looked who has it.
    static let ownLockTimeout = "300ms"

    /// Does what waits for a lock of Sluice's own, again and again while others stand in the way, who are ended.
    ///
    /// Any role may take any advisory lock, so one that no session of Sluice ever takes that way is of no use to anybody but
    /// to hold up a run: the first two are only shared, the third belongs to superusers and the migrator.
    func takingOwnLocks(_ body: () async throws -> Void) async throws {
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
                AND CASE WHEN l.classid IN (\(LockClass.run), \(LockClass.epoch)) THEN l.mode = 'ExclusiveLock'
                    ELSE l.classid = \(LockClass.installation) AND r.rolsuper IS NOT TRUE
                        AND r.oid IS DISTINCT FROM m.oid END
            ORDER BY 1 LIMIT 1000
            """)
        for name in rows.filter({ $0.isTrue(1) }).map({ $0.text(0) })
        where !intruders.contains(name) {
            intruders.append(name)
        }
        return rows.prefix(20).map { $0.text(0) }
    }
}
