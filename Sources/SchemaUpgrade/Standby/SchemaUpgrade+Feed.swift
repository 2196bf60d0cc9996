// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Letting the standby follow again.
extension SchemaUpgrade {
    /// How long a standby that follows may stand still before somebody is told.
    private static let patience = Span.seconds(60)

    /// Gives the standby's settings back, waits until it has caught up, and puts it back on the list of those that commits wait for.
    func feedStandby(_ task: DatabaseTask) async throws -> DatabaseReport {
        _ = try standbyAccess()
        let connection = try open()
        // Kept before anything is changed on the standby, and until everything is as it was.
        guard try await isInstalled(), let row = try await frozenRow(connection) else {
            return DatabaseReport(lines: ["the standby was not frozen"])
        }
        guard row.run == task.run.rawValue else {
            return DatabaseReport(lines: ["the standby is frozen for run \(row.run); left alone"])
        }
        if row.state == "shut" { throw StandbyFindings.shut(row) }
        try await refuseStranger(lookAtStandby())
        let clock = ContinuousClock()
        let began = clock.now
        _ = try await connection.execute(
            claim(task) + "UPDATE sluice.standby SET state = 'feeding'")
        let kept = try await keptLog(row.slot)
        try await giveBackSettings(row)
        try await follow(row)
        let behind = kept.map { ", \($0) behind" } ?? ""
        let took = Span(began.duration(to: clock.now))
        let lines = try await enterSynchronousNames(row)
        _ = try await connection.execute(claim(task) + "DELETE FROM sluice.standby")
        return DatabaseReport(
            lines: ["the standby follows again: caught up after \(took)\(behind)"] + lines)
    }

    /// How much of the log the primary keeps for the slot, for people.
    private func keptLog(_ slot: String) async throws -> String? {
        try await open().query(
            "SELECT pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) FROM pg_replication_slots WHERE slot_name = $1",
            [slot]
        ).first?[0]
    }

    /// Waits until the standby has what the primary has now, for as long as it comes nearer.
    private func follow(_ row: FrozenRow) async throws {
        let connection = try open()
        let target = try await connection.query("SELECT pg_current_wal_flush_lsn()")[0].text(0)
        var last = ""
        var deadline = deadline(SchemaUpgrade.patience)
        while true {
            try checkCancellation()
            let look = try await lookAtStandby()
            let hasAll = try await connection.query(
                "SELECT $1::pg_lsn >= $2::pg_lsn", [look.replayed, target])[0].isTrue(0)
            if hasAll, look.isStreaming { return }
            if look.replayed != last {
                last = look.replayed
                deadline = self.deadline(SchemaUpgrade.patience)
            }
            guard ContinuousClock.now < deadline else {
                throw try await standsStill(look, row, target)
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private func standsStill(_ look: StandbyLook, _ row: FrozenRow, _ target: String) async throws
        -> DatabaseFailure
    {
        let status = try await open().query(
            "SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1", [row.slot]
        ).first?[0]
        if status == nil || status == "lost" {
            return DatabaseFailure(
                code: "standby-lost",
                "the standby cannot follow any more: its slot \(row.slot) "
                    + (status == nil ? "is gone" : "has lost a part of the log"),
                advice:
                    "make it anew: stop it, empty its directory, and pg_basebackup -R -S SLOT from the primary; then try again",
                effect: .unknown)
        }
        return DatabaseFailure(
            code: "standby-behind",
            "the standby stands still at \(look.replayed), and \(target) is to be reached"
                + (look.isStreaming ? "" : "; it has no connection with the primary"),
            advice: "see in the standby's log why, then try again", effect: .unknown)
    }

    /// As it was before, unless somebody has changed it since.
    private func enterSynchronousNames(_ row: FrozenRow) async throws -> [String] {
        guard let before = row.synchronous else { return [] }
        let connection = try open()
        let current = try await connection.query(
            "SELECT \(StandbyLook.lastWord("synchronous_standby_names"))")[0].text(0)
        guard current == row.synchronousMeanwhile || current == before else {
            return [
                "synchronous_standby_names was changed to '\(current)' meanwhile, so it is left alone (before: '\(before)')"
            ]
        }
        try await alterSystem(
            connection, "synchronous_standby_names", row.isSynchronousSet ? before : nil)
        try await reload(connection)
        return ["synchronous_standby_names is '\(before)' again"]
    }
}
