// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What a standby is at a moment.
struct StandbyLook: Sendable {
    var isInRecovery: Bool
    /// The system identifier of its server, and the name of the database.
    var server: String
    var database: String
    /// What the configuration files say, the last word of each; may hold a password, so it is never shown.
    var conninfo: String
    var restore: String
    /// Whether ALTER SYSTEM has set them.
    var isConninfoSet: Bool
    var isRestoreSet: Bool
    /// The slot of its receiver; `nil` while none is connected.
    var slot: String?
    var isReceiving: Bool
    var isStreaming: Bool
    var replayed: String
    /// Tables that replay has locked against readers.
    var locked: [String]

    var isStarved: Bool {
        Starvation.isStarved(conninfo: conninfo) && Starvation.starved(restore: restore) == restore
    }

    static let query = """
        SELECT pg_is_in_recovery(), \(FenceStatements.server), current_database(),
            \(lastWord("primary_conninfo")), \(lastWord("restore_command")),
            \(isSetBySystem("primary_conninfo")), \(isSetBySystem("restore_command")),
            (SELECT slot_name FROM pg_stat_wal_receiver), EXISTS (SELECT FROM pg_stat_wal_receiver),
            EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'), pg_last_wal_replay_lsn(),
            (SELECT string_agg(DISTINCT coalesce(c.relname, l.relation::text), ', ') FROM pg_locks AS l
                JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.backend_type = 'startup'
                LEFT JOIN pg_class AS c ON c.oid = l.relation
                WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.locktype = 'relation'
                    AND l.database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
        """

    /// Where replay is, and whether it has nothing to do and nobody gives it more. Small: it is asked again and again while writers wait.
    static let stillness = """
        SELECT pg_last_wal_replay_lsn(), NOT EXISTS (SELECT FROM pg_stat_wal_receiver) AND \(isWaiting)
        """

    private static let isWaiting = """
        EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup'
            AND wait_event IN ('RecoveryWalStream', 'RecoveryWalAll', 'RecoveryRetrieveRetryInterval'))
        """

    /// A setting as the files have it, whether or not the server has read them.
    static func lastWord(_ name: String) -> String {
        "(SELECT setting FROM pg_file_settings WHERE name = '\(name)' AND error IS NULL ORDER BY seqno DESC LIMIT 1)"
    }

    static func isSetBySystem(_ name: String) -> String {
        "EXISTS (SELECT FROM pg_file_settings WHERE name = '\(name)' AND sourcefile ~ 'postgresql[.]auto[.]conf$')"
    }

    init(_ row: Rows.Row) {
        isInRecovery = row.isTrue(0)
        server = row.text(1)
        database = row.text(2)
        conninfo = row.text(3)
        restore = row.text(4)
        isConninfoSet = row.isTrue(5)
        isRestoreSet = row.isTrue(6)
        slot = row[7]
        isReceiving = row.isTrue(8)
        isStreaming = row.isTrue(9)
        replayed = row.text(10)
        locked = row[11].map { [$0] } ?? []
    }
}

extension SchemaUpgrade {
    /// - Throws: `standby` where the plan names none.
    func standbyAccess() throws -> Configuration.StandbyAccess {
        if let access = configuration.standby { return access }
        throw DatabaseFailure(code: "standby", "this coordinator knows no standby of the database")
    }

    /// The session with the standby, beside the one with the primary.
    ///
    /// Its statements hold the way to the primary, passwords and all; so they are kept out of the standby's own log.
    ///
    /// - Throws: `standby-unreachable`, `standby-rights`.
    func openStandby() async throws -> PostgresConnection {
        if let standby {
            // Whoever has asked it a moment ago finds out by itself that it is gone, and the task begins again.
            if ContinuousClock.now < standbyAnswered.advanced(by: .seconds(1)) { return standby }
            do {
                _ = try await standby.query("SELECT")
                standbyAnswered = .now
                return standby
            } catch let error as PostgresError where error.isConnectionLost {
                await closeStandby()
            }
        }
        let access = try standbyAccess()
        let opened: PostgresConnection
        do {
            opened = try await PostgresConnection.connect(
                ConnectionOptions(
                    address: access.address, applicationName: SchemaUpgrade.name,
                    connectTimeoutSeconds: 3))
        } catch {
            throw DatabaseFailure(
                code: "standby-unreachable", "the standby does not answer: \(error)",
                advice:
                    "start it, and see that the coordinator may connect to it directly, with the user, password and database of its address"
            )
        }
        do {
            try await prepareStandby(opened)
        } catch {
            await opened.close()
            throw error
        }
        standby = opened
        standbyAnswered = .now
        return opened
    }

    func prepareStandby(_ opened: PostgresConnection) async throws {
        let role = try await opened.query(
            "SELECT rolname, rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) session_user"
        )[0]
        guard role.isTrue(1) else {
            throw DatabaseFailure(
                code: "standby-rights",
                "role \(role.text(0)) of the standby's address is no superuser; only one may cut a standby off and promote it",
                advice:
                    "give the standby's address the migrator, or on the primary: ALTER ROLE \(quotedIdentifier(role.text(0))) SUPERUSER"
            )
        }
        _ = try await opened.execute(
            """
            SET search_path = pg_catalog; SET standard_conforming_strings = on; SET log_statement = 'none';
            SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic'; SET log_duration = off;
            SET log_min_duration_sample = -1; SET log_transaction_sample_rate = 0; SET statement_timeout = '20s';
            SET idle_session_timeout = 0; SET client_min_messages = warning; SET jit = off; SET lock_timeout = '2s';
            SET default_transaction_read_only = off;
            SELECT set_config('pg_stat_statements.track_utility', 'off', false), set_config('pgaudit.log', 'none', false)
            """)
    }

    func closeStandby() async {
        let ending = standby
        standby = nil
        await ending?.close()
    }

    func lookAtStandby() async throws -> StandbyLook {
        try await despiteReplay {
            StandbyLook(try await openStandby().query(StandbyLook.query)[0])
        }
    }

    /// Asks again where replay has cancelled the question.
    ///
    /// A standby that has much to catch up with waits for nobody in its way (`max_standby_streaming_delay` counts from when it received
    /// what it replays now), and what it removes then is seldom in the way of the next question as well.
    func despiteReplay<Answer>(_ question: () async throws -> Answer) async throws -> Answer {
        for _ in 0..<50 {
            do {
                return try await question()
            } catch PostgresError.server(let error) where error.sqlState == "40001" {
                try checkCancellation()
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        return try await question()
    }

    /// What the primary keeps of the freeze, or of a server that was shut; `nil` where there is nothing.
    func frozenRow(_ connection: PostgresConnection) async throws -> FrozenRow? {
        guard try await connection.query("SELECT \(StandbySchema.exists)")[0].isTrue(0) else {
            return nil
        }
        return try await connection.query(FrozenRow.query).first.map { row in
            FrozenRow(
                run: row.text(0), state: row.text(1), slot: row.text(2),
                isConninfoSet: row.isTrue(3), isRestoreSet: row.isTrue(4), synchronous: row[5],
                isSynchronousSet: row.isTrue(6), synchronousMeanwhile: row[7], lsn: row[8])
        }
    }

    /// Sets, or takes back, a setting of a server; `nil` takes it back.
    func alterSystem(_ connection: PostgresConnection, _ name: String, _ value: String?)
        async throws
    {
        // Not in a transaction, so each statement by itself.
        _ = try await connection.execute(
            value.map { "ALTER SYSTEM SET \(name) = \(quotedLiteral($0))" }
                ?? "ALTER SYSTEM RESET \(name)")
    }

    func reload(_ connection: PostgresConnection) async throws {
        _ = try await connection.query("SELECT pg_reload_conf()")
    }

    /// Asks again, some milliseconds apart, until it is so.
    ///
    /// - Returns: whether it came to be so before the deadline.
    func reached(
        by deadline: ContinuousClock.Instant, every pause: Duration = .milliseconds(2),
        _ condition: () async throws -> Bool
    ) async throws -> Bool {
        while try await !condition() {
            try checkCancellation()
            if ContinuousClock.now >= deadline { return false }
            try await Task.sleep(for: pause)
        }
        return true
    }
}
