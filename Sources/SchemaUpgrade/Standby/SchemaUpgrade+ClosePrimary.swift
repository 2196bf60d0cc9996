// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// The end of a primary whose standby takes its place.
extension SchemaUpgrade {
    /// Nobody writes on this server any more, whoever starts it again: the fence stays, and nobody may log in.
    ///
    /// - Returns: whether it is there to be emptied: whoever has promoted the standby by hand may have made a standby of it.
    /// - Throws: `standby-thawed`.
    func closePrimary(_ task: DatabaseTask, isPromoted: Bool) async throws -> Bool {
        let connection = try open()
        if isPromoted,
            try await connection.query("SELECT pg_is_in_recovery()")[0].isTrue(0)
        {
            return false
        }
        try await refuseThawed(task, isPromoted: isPromoted)
        _ = try await connection.execute(
            leaving(task)
                + """
                DO $shut$ BEGIN
                    EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', current_database());
                END $shut$
                """)
        return true
    }

    /// Nothing of Sluice's works on this server any more; whoever reads there goes on for now.
    ///
    /// - Throws: `standby-thawed`.
    func leavePrimary(_ task: DatabaseTask) async throws {
        try await refuseThawed(task, isPromoted: false)
        _ = try await open().execute(leaving(task))
    }

    private func leaving(_ task: DatabaseTask) -> String {
        claim(task) + expectFence(task, "up")
            + """
            UPDATE sluice.fence SET passes = NULL, pass = NULL;
            UPDATE sluice.standby SET state = 'shut', connection_limit = coalesce(connection_limit, (
                SELECT datconnlimit FROM pg_database WHERE datname = current_database()));

            """
    }

    private func refuseThawed(_ task: DatabaseTask, isPromoted: Bool) async throws {
        let row = try await frozenRow(open())
        guard let row, row.run == task.run.rawValue else {
            throw DatabaseFailure(
                code: "standby-thawed",
                "the primary knows of no standby that is frozen for this run",
                advice: "see which standby the primary has, and what it shows")
        }
        guard ["frozen", "shut"].contains(row.state) || isPromoted else {
            throw DatabaseFailure(
                code: "standby-thawed", "the standby was not frozen to the end, or follows already",
                advice: "the migration has not begun, or the lift has: neither needs a promotion")
        }
    }

    /// Ends whoever is left on a primary that is closed.
    ///
    /// - Parameters:
    ///   - isThere: as ``closePrimary(_:isPromoted:)`` has said it.
    ///   - slot: that the standby had.
    /// - Returns: what is worth saying of it, or why it is not empty: `primary-busy`, or lost.
    func emptied(_ isThere: Bool, _ slot: String?) async -> Result<[String], any Error> {
        guard isThere else {
            return .success([
                "the old primary is a standby now, as whoever promoted this one has made it"
            ])
        }
        do {
            return .success(try await emptyPrimary() + otherStandbys(slot))
        } catch {
            if let lost = error as? PostgresError, lost.isConnectionLost { return .failure(lost) }
            var reason = failure(from: error)
            reason.effect = .unknown
            return .failure(reason)
        }
    }

    /// Ends every session, and asks until the server says that none is left.
    private func emptyPrimary() async throws -> [String] {
        let connection = try open()
        let others = """
            FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND backend_type NOT IN ('autovacuum worker', 'parallel worker')
            """
        var ended = 0
        let deadline = deadline(.seconds(10))
        while true {
            let left = try await connection.query(
                "SELECT pg_terminate_backend(pid), backend_type, usename, application_name \(others)"
            )
            if left.isEmpty { break }
            ended = max(ended, left.count)
            guard ContinuousClock.now < deadline else {
                let first = left[0]
                throw DatabaseFailure(
                    code: "primary-busy",
                    "the primary does not get empty: \(first.text(1)) of role \(first.text(2)), application \(first.text(3))",
                    advice: "stop whatever logs in there as a superuser, then try again")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
        let proof = try await connection.query(
            """
            SELECT (SELECT datconnlimit FROM pg_database WHERE datname = current_database()), (SELECT state FROM sluice.fence),
                (SELECT connection_limit FROM sluice.standby), (SELECT count(*) \(others)),
                (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())
            """)[0]
        guard proof.integer(0) == 0, proof[1] == "up", proof.integer(3) == 0, proof.integer(4) == 0
        else {
            throw DatabaseFailure(
                code: "primary-busy",
                "the primary does not stay shut: connection limit \(proof.text(0)), fence \(proof[1] ?? "down"), sessions \(proof.text(3)), "
                    + "prepared transactions \(proof.text(4))",
                advice: "see who changes it, then try again")
        }
        return [
            "the old primary is shut: its fence stays up, nobody but superusers may log in (connection limit 0, before: \(proof.text(2))), "
                + "\(ended) sessions were ended, none is left"
        ]
    }

    /// Who else follows the first primary, and has what it has.
    private func otherStandbys(_ slot: String?) async throws -> [String] {
        try await open().query(
            """
            SELECT coalesce(s.slot_name, r.application_name) || coalesce(' (' || host(r.client_addr) || ')', '')
            FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
            WHERE r.state = 'streaming' AND s.slot_type IS DISTINCT FROM 'logical' AND s.slot_name IS DISTINCT FROM $1 ORDER BY 1
            """, [slot]
        ).map { row in
            "standby \(row.text(0)) follows the old primary and has the migration with it: let nobody read there, and make it a standby of the "
                + "new one as the old primary"
        }
    }
}
