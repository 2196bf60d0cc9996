// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What is watched while the primary migrates and its standby is frozen.
extension SchemaUpgrade {
    /// Fails for every task on a server that was shut for good.
    func refuseShutServer(_ task: DatabaseTask) async throws {
        guard !isAtStandby,
            configuration.standby != nil
                || [.preflight, .raiseFence, .lowerFence].contains(task.kind),
            try await isInstalled(), let row = try await frozenRow(open()), row.state == "shut"
        else { return }
        throw StandbyFindings.shut(row)
    }

    /// Migrates, unless the standby is not frozen any more; stops before the log that is kept for it costs more than the plan allows.
    func guardingStandby(
        _ task: DatabaseTask, _ body: () async throws -> DatabaseReport
    ) async throws -> DatabaseReport {
        guard let access = configuration.standby, !isAtStandby, try await isInstalled(),
            let row = try await frozenRow(open()), row.run == task.run.rawValue
        else { return try await body() }
        try await refuseThawed(row)
        try await refuseActiveManager()
        logSpent = nil
        let watch = Task { await watchLog(row.slot, access.budget) }
        do {
            let report = try await body()
            watch.cancel()
            await watch.value
            return report
        } catch {
            watch.cancel()
            await watch.value
            if let logSpent { throw logSpent }
            throw error
        }
    }

    private func refuseThawed(_ row: FrozenRow) async throws {
        let look = try await lookAtStandby()
        if row.state == "frozen", look.isInRecovery, look.isStarved, !look.isReceiving,
            look.replayed == row.lsn
        {
            return
        }
        throw DatabaseFailure(
            code: "standby-thawed",
            "the standby is not frozen any more: frozen at \(row.lsn ?? "no place"), it is at \(look.replayed)"
                + (look.isStarved ? "" : ", and its settings have been changed"),
            advice: "see who has changed them; the run turns back, and can be started again")
    }

    /// Cancels what the session does when nine tenths of the budget are spent, and again until it has ended.
    private func watchLog(_ slot: String, _ budget: Int64) async {
        var turn = 0
        while !Task.isCancelled {
            var failure = await spent(slot, budget)
            if failure == nil, turn.isMultiple(of: 5) { failure = await managerTrouble() }
            turn += 1
            if let failure {
                logSpent = failure
                await connection?.cancel()
            }
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    private func spent(_ slot: String, _ budget: Int64) async -> DatabaseFailure? {
        let row: Rows.Row?
        do {
            row = try await openedWatcher().query(
                """
                SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)::bigint, wal_status,
                    pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)), pg_size_pretty($2::bigint)
                FROM pg_replication_slots WHERE slot_name = $1
                """, [slot, "\(budget)"]
            ).first
        } catch {
            // Whoever migrates finds out by itself.
            await endWatch()
            return nil
        }
        let isLost = row.map { $0[1] == "unreserved" || $0[1] == "lost" } ?? true
        guard isLost || (row?.integer(0) ?? 0) >= budget / 10 * 9 else { return nil }
        return DatabaseFailure(
            code: "wal-budget",
            isLost
                ? "the primary does not keep its log for the frozen standby any more (slot \(slot))"
                : "the primary keeps \(row?.text(2) ?? "?") of its log for the frozen standby, and the plan allows \(row?.text(3) ?? "?")",
            advice:
                "give the plan's database: {standby: {wal: …}} more, where the disk of the primary has it, or migrate in smaller steps"
        )
    }
}
