// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

extension SchemaUpgrade {
    /// Waits for, or ends, every transaction older than the fence; then lets the database prove that no writer is left.
    func census(_ task: DatabaseTask) async throws -> DatabaseReport {
        let found = try await fenceState()
        if let found, found.isHeld(against: task) { throw found.held }
        guard let found, found.state == "up" else {
            throw DatabaseFailure(
                code: "fence-down", "the fence is not up, so there is nothing to prove",
                advice: "raise the fence first")
        }
        let deadline = deadline(task.budget ?? configuration.drainTimeout)
        repeat {
            try await refuseEndlessWait(after: deadline.advanced(by: .seconds(20)))
            try await waitForOlder(task, until: deadline)
            // A transaction from before the fence may have created a table or granted a right when it ended. Then those who
            // began meanwhile may have used it, and are waited for in turn. From now on nobody can do it again.
        } while try await closeWhatAppeared(task)
        try await waitForPreparedTransactions(until: deadline)

        let transaction = try await open().execute(
            claim(task) + expectFence(task, "up") + freezing(task)
                + """
                UPDATE sluice.fence SET census_transaction = pg_current_xact_id()::text
                RETURNING census_transaction
                """)[0].text(0)
        // What that has kept of the standby may be changed now. A restart would cut it off from then on, so commits wait for it no more.
        if configuration.standby != nil, !isAtStandby, let row = try await frozenRow(open()) {
            _ = try await leaveSynchronousNames(row)
        }
        async let armed: Void = armStandby()
        try await waitUntilOldest(isPast: transaction, task, until: deadline)
        var report = try await report(transaction)
        try await armed
        if let proof = report.census { report.lines += try await waitForStandby(proof, task) }
        return report
    }

    private func report(_ transaction: String) async throws -> DatabaseReport {
        let rows = try await open().query(
            """
            SELECT pg_current_wal_flush_lsn(), (\(FenceStatements.storedDigest)), e.description,
                \(FenceStatements.server), \(FenceStatements.timeline)
            FROM sluice.fence LEFT JOIN LATERAL unnest(ended) AS e (description) ON true
            """)
        guard let row = rows.first, let stored = Digest(row.text(1)) else {
            throw DatabaseFailure(
                code: "fault", "there is no digest of what the fence has stored")
        }
        let ended = rows.compactMap { $0[2] }
        let proof = CensusProof(
            transaction: transaction, fenceLSN: row.text(0), stored: stored, ended: ended,
            server: row[3], timeline: row[4])
        let spared = try await sparedReaders().map {
            "left alone, because it only reads: \($0.description)"
        }
        return DatabaseReport(
            lines: ["no writer is left: transaction \(transaction), fence LSN \(proof.fenceLSN)"]
                + ended.map { "ended: \($0)" } + spared,
            census: proof)
    }

    func waitForOlder(_ task: DatabaseTask, until deadline: ContinuousClock.Instant)
        async throws
    {
        var readers: Set<String>?
        while true {
            try checkCancellation()
            let left = try await olderWriters(&readers)
            if left.isEmpty { return }
            if ContinuousClock.now >= deadline {
                try await endStragglers(task, left, until: deadline.advanced(by: .seconds(10)))
            } else {
                try await Task.sleep(for: .milliseconds(2))
            }
        }
    }

    /// - Returns: whether there was anything, and so another round is needed.
    func closeWhatAppeared(_ task: DatabaseTask) async throws -> Bool {
        let claim = claim(task) + expectFence(task, "up")
        return try await open().perform { session in
            let appeared = try session.query(
                """
                SELECT WHERE EXISTS (SELECT FROM sluice.unfenced_table) OR EXISTS (SELECT FROM sluice.open_sequence)
                    OR EXISTS (SELECT FROM sluice.open_function)
                    OR EXISTS (SELECT FROM sluice.superusers_function WHERE is_tamable AND NOT is_tame)
                """)
            if appeared.isEmpty { return false }
            try session.execute(
                claim
                    + "SELECT sluice.close_rights(); SELECT sluice.fence_tables(\(SchemaUpgrade.tablesAtOnce))"
            )
            try session.execute(
                claim
                    + "UPDATE sluice.fence SET older = (\(FenceStatements.transactionsUnderWay))"
            )
            return true
        }
    }

    private func waitForPreparedTransactions(until deadline: ContinuousClock.Instant) async throws {
        while true {
            do {
                try await refusePreparedTransactions()
                return
            } catch let failure as DatabaseFailure {
                try checkCancellation()
                if ContinuousClock.now >= deadline { throw failure }
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Waits until no transaction of this database is older than the given one.
    ///
    /// The oldest running transaction of the snapshot has to have passed it. Transactions that are known to run in other
    /// databases of the server do not count: they cannot write here.
    private func waitUntilOldest(
        isPast transaction: String, _ task: DatabaseTask, until deadline: ContinuousClock.Instant
    ) async throws {
        let elsewhere = """
            SELECT a.backend_xid FROM pg_stat_activity AS a WHERE a.datname <> current_database()
                AND a.backend_xid IS NOT NULL
            UNION ALL SELECT p.transaction FROM pg_prepared_xacts AS p WHERE p.database <> current_database()
            """
        while true {
            try checkCancellation()
            // The list of the others is taken after the snapshot: who is in it runs elsewhere, whatever has ended since.
            let left = try await open().query(
                """
                WITH s AS MATERIALIZED (SELECT pg_current_snapshot() AS now)
                SELECT x FROM s, pg_snapshot_xip(s.now) AS x WHERE x < $1::xid8
                    AND x::xid NOT IN (\(elsewhere))
                """, [transaction])
            if left.isEmpty { return }
            if ContinuousClock.now >= deadline {
                let list = left.map { "'\($0.text(0))'" }.joined(separator: ", ")
                let holders = try await stragglersWithTransaction(in: list)
                try await endStragglers(task, holders, until: deadline.advanced(by: .seconds(10)))
                guard ContinuousClock.now < deadline.advanced(by: .seconds(10)) else {
                    throw DatabaseFailure(
                        code: "stragglers",
                        "transactions \(list) are still under way, and no session shows them",
                        advice: "look into pg_prepared_xacts and pg_stat_activity")
                }
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func stragglersWithTransaction(in list: String) async throws -> [Straggler] {
        try await open().query(
            """
            SELECT a.pid, a.backend_start::text, \(FenceStatements.description) FROM pg_stat_activity AS a
            WHERE a.backend_xid::text IN (SELECT x::xid8::xid::text FROM unnest(ARRAY[\(list)]) AS x)
                AND a.datname = current_database() AND a.pid <> pg_backend_pid()
            """
        ).map { Straggler(process: $0.text(0), session: $0.text(1), description: $0.text(2)) }
    }
}
