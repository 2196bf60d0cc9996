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

    /// How long readers may be without the standby until the migration is given up: longer than a restart of it.
    private static let patienceWithStandby = Duration.seconds(8)

    /// Migrates for as long as the standby is frozen and answers, and what looks after it lets it be; stops before the log that is kept
    /// for it costs more than the plan allows.
    func guardingStandby(
        _ task: DatabaseTask, _ body: () async throws -> DatabaseReport
    ) async throws -> DatabaseReport {
        guard let access = configuration.standby, !isAtStandby, try await isInstalled(),
            let row = try await frozenRow(open()), row.run == task.run.rawValue
        else { return try await body() }
        try await refuseThawed(row)
        try await refuseActiveManager()
        guardTrouble = nil
        let watch = Task { await watchStandby(row, access.budget) }
        do {
            let report = try await body()
            watch.cancel()
            await watch.value
            return report
        } catch {
            watch.cancel()
            await watch.value
            guard let guardTrouble else { throw error }
            // A session that was lost is looked into first, unless what is known says less than that could.
            let isLost = (error as? PostgresError)?.isConnectionLost == true
            throw isLost && guardTrouble.effect == .none ? error : guardTrouble
        }
    }

    /// The tool of the application migrates while the standby is frozen; what comes later, the run is told by ``sight(of:)``.
    func refuseThawedStandby(_ task: DatabaseTask) async throws {
        guard task.kind == .openPass, task.attempt == 1, configuration.standby != nil,
            !isAtStandby, let row = try await frozenRow(open()), row.run == task.run.rawValue
        else { return }
        try await refuseThawed(row)
        try await refuseActiveManager()
    }

    private func refuseThawed(_ row: FrozenRow) async throws {
        if let failure = thawed(row, try await lookAtStandby()) { throw failure }
    }

    func thawed(_ row: FrozenRow, _ look: StandbyLook) -> DatabaseFailure? {
        if row.state == "frozen", look.isInRecovery, look.isStarved, !look.isReceiving,
            look.replayed == row.lsn
        {
            return nil
        }
        return DatabaseFailure(
            code: "standby-thawed",
            "the standby is not frozen any more: frozen at \(row.lsn ?? "no place"), it is at \(look.replayed)"
                + (look.isStarved ? "" : ", and its settings have been changed"),
            advice: "see who has changed them; the run turns back, and can be started again")
    }

    /// Cancels what the session does when nine tenths of the budget are spent or the standby is lost, and again until it has ended.
    private func watchStandby(_ row: FrozenRow, _ budget: Int64) async {
        var turn = 0
        var answered = ContinuousClock.now
        while !Task.isCancelled {
            var failure = await spent(row.slot, budget)
            if failure == nil, turn.isMultiple(of: 5) { failure = await managerTrouble() }
            if failure == nil, turn.isMultiple(of: 5) {
                failure = await standbyTrouble(row, &answered)
            }
            turn += 1
            if let failure {
                guardTrouble = failure
                await connection?.cancel()
            }
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    /// - Parameter answered: when the standby was found as it was frozen, last.
    private func standbyTrouble(
        _ row: FrozenRow, _ answered: inout ContinuousClock.Instant
    ) async -> DatabaseFailure? {
        if let look = try? await lookAtStandby() {
            answered = ContinuousClock.now
            return thawed(row, look)
        }
        guard answered.duration(to: .now) >= SchemaUpgrade.patienceWithStandby, !Task.isCancelled,
            configuration.standby?.mayBeLost != true
        else { return nil }
        return DatabaseFailure(
            code: "standby-lost",
            "the standby has not answered for \(Span(SchemaUpgrade.patienceWithStandby)) while the old release reads there",
            advice: "start it, and see in its log why it ended; it is frozen still")
    }

    func spent(_ slot: String, _ budget: Int64) async -> DatabaseFailure? {
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
