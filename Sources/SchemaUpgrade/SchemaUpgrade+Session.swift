// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What a session says of itself, and what is set in it. One connection is kept from task to task.
extension SchemaUpgrade {
    private static let name = "sluice"

    /// Settings that hold for all statements of Sluice. Those of a superuser are skipped for others, so that preflight can say
    /// what is missing.
    static let settings = """
        SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed';
        SET default_transaction_deferrable = off; SET search_path = pg_catalog; SET statement_timeout = 0;
        SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0; SET client_min_messages = warning;
        SET standard_conforming_strings = on; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';
        SET row_security = on; SET client_connection_check_interval = '1s'; SET lock_timeout = '2s';
        SELECT set_config('deadlock_timeout', '20ms', false), set_config('session_replication_role', 'origin', false)
            FROM pg_roles WHERE rolname = session_user AND rolsuper;
        """

    /// A session for this task: open, named after its epoch, and without any older one of Sluice beside it.
    func prepareSession(for task: DatabaseTask) async throws {
        if connection != nil {
            do {
                try await announce(task)
                return
            } catch let error as PostgresError where error.isConnectionLost {
                // It ended while it was idle, so nothing is lost.
                await close()
            }
        }
        try await connect()
        try await announce(task)
    }

    private func connect() async throws {
        let opened = try await PostgresConnection.connect(
            ConnectionOptions(address: configuration.address, applicationName: SchemaUpgrade.name))
        searchPath = try await opened.perform { session in
            let path = try session.query("SELECT current_setting('search_path')")[0].text(0)
            try session.execute(SchemaUpgrade.settings)
            return path
        }
        announced = nil
        hasSchema = false
        connection = opened
    }

    /// Puts the epoch into the session's name, and ends the sessions that an earlier or a lost attempt has left.
    ///
    /// They may still be migrating for a client that died long ago. A session of a higher epoch means that this leader has
    /// been replaced.
    private func announce(_ task: DatabaseTask) async throws {
        let connection = try open()
        // At most 63 bytes arrive, so a long run's name is cut; what is compared is cut the same.
        let run = String(task.run.rawValue.prefix(32))
        let name = "sluice \(run) epoch \(task.epoch.rawValue)"
        if announced != name {
            try await connection.query("SELECT set_config('application_name', $1, false)", [name])
            announced = name
        }
        let epoch = "\(task.epoch.rawValue)"
        let others = """
            FROM pg_stat_activity WHERE usename = session_user AND datname = current_database()
                AND pid <> pg_backend_pid() AND (application_name = 'sluice'
                    OR starts_with(application_name, 'sluice \(run) epoch '))
            """
        let theirEpoch = "coalesce(substring(application_name FROM '[0-9]+$')::bigint, 0)"
        let deadline = ContinuousClock.now.advanced(by: .seconds(10))
        while true {
            let found = try await connection.query(
                """
                SELECT pid, \(theirEpoch), CASE WHEN \(theirEpoch) <= $1::bigint THEN pg_terminate_backend(pid) END
                \(others)
                """, [epoch])
            if found.isEmpty { return }
            if let higher = found.first(where: { ($0.integer(1) ?? 0) > task.epoch.rawValue }) {
                throw superseded(task, by: higher.text(1))
            }
            guard ContinuousClock.now < deadline else {
                throw DatabaseFailure(
                    code: "migrator-shared",
                    "process \(found[0].text(0)) of an earlier attempt does not end",
                    advice: "end it on the server, then retry")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Goes through the motions of the fence once, before the window, so that in it the session's caches and plans are there.
    ///
    /// Whatever stands in the way does not matter: it is rolled back in any case.
    func warmUp() async {
        struct RolledBack: Error {}
        _ = try? await open().transaction { session in
            try session.execute(
                "SET LOCAL lock_timeout = '10ms'; SELECT sluice.close_rights(); SELECT sluice.open_rights()"
            )
            throw RolledBack()
        }
    }

    func superseded(_ task: DatabaseTask, by epoch: String) -> DatabaseFailure {
        DatabaseFailure(
            code: "superseded", "epoch \(task.epoch.rawValue) has been replaced by epoch \(epoch)",
            advice: "another coordinator leads; this one must stop")
    }

    /// Whether the schema `sluice` is there and of this version.
    func isInstalled() async throws -> Bool {
        if hasSchema { return true }
        hasSchema =
            try await open().query(
                """
                SELECT FROM pg_namespace AS n WHERE n.nspname = 'sluice' AND obj_description(n.oid, 'pg_namespace') = $1
                """, [FenceSchema.version]
            ).count == 1
        return hasSchema
    }

    /// Fails when another leader has been here, before anything is looked at.
    func refuseReplaced(_ task: DatabaseTask) async throws {
        guard try await isInstalled() else { return }
        let found = try await open().query("SELECT epoch FROM sluice.epoch").first?.integer(0)
        if let found, found > task.epoch.rawValue { throw superseded(task, by: "\(found)") }
    }

    /// Makes the schema `sluice`, in a transaction of its own, before anything waits for it.
    func install(_ task: DatabaseTask) async throws {
        if try await isInstalled() { return }
        let epoch = task.epoch
        let run = task.run
        try await open().transaction { session in
            try session.execute(FenceSchema.install)
            try claim(session, epoch, run)
        }
    }
}

/// Checks the epoch and raises it to the task's, in the transaction that does the work.
///
/// - Throws: a `superseded` failure when a higher epoch has been here.
func claim(_ session: borrowing Session, _ epoch: Epoch, _ run: RunIdentifier) throws {
    let claimed = try session.query(
        """
        INSERT INTO sluice.epoch AS e (epoch, run) VALUES ($1, $2)
        ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch, run = excluded.run, at = clock_timestamp()
            WHERE e.epoch <= excluded.epoch
        RETURNING e.epoch
        """, ["\(epoch.rawValue)", run.rawValue])
    if claimed.isEmpty {
        let found = try session.query("SELECT epoch FROM sluice.epoch").first?.text(0) ?? "?"
        throw DatabaseFailure(
            code: "superseded", "epoch \(epoch.rawValue) has been replaced by epoch \(found)",
            advice: "another coordinator leads; this one must stop")
    }
}

/// A pause of random length, so that two who wait for each other do not meet again.
func pause(upTo milliseconds: Int) async throws {
    try await Task.sleep(
        for: .milliseconds(Int.random(in: max(1, milliseconds / 2)...max(1, milliseconds))))
}
