// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Cutting the standby off at what the census has proved.
extension SchemaUpgrade {
    /// Lets the standby replay everything up to the census, takes it off the list of those that commits wait for, and starves it.
    ///
    /// The standby's receiver is told an address that leads nowhere, and its `restore_command` fails: it stays as it is through a
    /// restart and a crash, and promotion gives what it shows. Pausing replay would not (it is lost by a restart, and promoting a
    /// paused standby replays what it has received).
    func freezeStandby(_ task: DatabaseTask) async throws -> DatabaseReport {
        let access = try standbyAccess()
        let clock = ContinuousClock()
        let began = clock.now
        let deadline = deadline(task.budget ?? .milliseconds(access.lag.milliseconds + 10_000))
        async let found = lookAtStandby()
        let earlier = try await frozenRow(open())
        var look = try await found
        try await refuseStranger(look)
        if let earlier, earlier.run == task.run.rawValue, earlier.state == "frozen",
            look.isStarved, !look.isReceiving, earlier.lsn == look.replayed
        {
            return DatabaseReport(lines: ["the standby was frozen already, at \(look.replayed)"])
        }
        try await refuseActiveManager()
        let row = try await beginFreeze(look, earlier, task)
        let target = try await open().query("SELECT pg_current_wal_flush_lsn()")[0].text(0)
        var lines = try await leaveSynchronousNames(row)
        var held: [String] = []
        while true {
            // While it receives by what its files say, nothing of it was changed yet; by what they said before, the census has armed it.
            let isArmed = try await isArmed(look, target)
            if !isArmed, look.isStarved || !look.isReceiving || !held.isEmpty {
                try await feed(to: target, row)
                look = try await lookAtStandby()
            }
            try await reach(target, until: deadline)
            let caughtUp = clock.now
            look = try await starve(look, until: deadline)
            if look.locked.isEmpty {
                lines.insert(
                    "the standby is frozen at \(look.replayed): caught up after \(Span(began.duration(to: caughtUp))), cut off "
                        + "after \(Span(caughtUp.duration(to: clock.now))) more", at: 0)
                break
            }
            // A lock in the stream is in the middle of being replayed; frozen there, it would keep readers out for the whole window.
            held += look.locked.filter { !held.contains($0) }
            try await giveBackSettings(row)
            guard try await reached(by: deadline, { try await lookAtStandby().locked.isEmpty })
            else {
                throw DatabaseFailure(
                    code: "standby-locked",
                    "replay on the standby holds a lock on \(held.joined(separator: ", ")) that would keep readers out",
                    advice:
                        "see in pg_stat_activity of the primary who alters or vacuums that table, and let it end"
                )
            }
        }
        if !held.isEmpty {
            lines.append("waited until replay had let go of \(held.joined(separator: ", "))")
        }
        // Whatever the migration commits comes to the disk after it. Where nothing does, there is nothing to go back from.
        _ = try await open().execute(
            "SET LOCAL synchronous_commit = off;\n" + claim(task) + expectFence(task, "up")
                + "UPDATE sluice.standby SET state = 'frozen', lsn = \(quotedLiteral(look.replayed))"
        )
        return DatabaseReport(lines: lines)
    }

    /// - Throws: `standby-primary`, `standby-foreign`, `standby-database`.
    func refuseStranger(_ look: StandbyLook) async throws {
        let own = try await open().query("SELECT \(FenceStatements.server), current_database()")[0]
        if let finding = StandbyFindings.stranger(look, server: own.text(0), database: own.text(1))
        {
            throw DatabaseFailure(code: finding.code, finding.message, advice: finding.advice)
        }
    }

    /// What a freeze needs to know later is kept by then; an earlier coordinator's census has kept nothing.
    private func beginFreeze(
        _ look: StandbyLook, _ earlier: FrozenRow?, _ task: DatabaseTask
    ) async throws -> FrozenRow {
        if let earlier, earlier.state == "freezing", earlier.run == task.run.rawValue {
            return earlier
        }
        let connection = try open()
        _ = try await connection.execute(
            claim(task) + expectFence(task, "up") + freezing(look, earlier, task))
        guard let row = try await frozenRow(connection) else {
            throw DatabaseFailure(
                code: "fault", "what the freeze has kept is gone", effect: .unknown)
        }
        return row
    }

    /// What `synchronous_standby_names` is, and what it is without the standby; `nil` where the standby is not in it.
    func synchronousNames(_ slot: String) async throws -> (
        before: String, isSet: Bool, meanwhile: String
    )? {
        let connection = try open()
        let senders = try await connection.query(
            """
            SELECT r.application_name, s.slot_name IS NOT DISTINCT FROM $1, current_setting('synchronous_standby_names'),
                \(StandbyLook.isSetBySystem("synchronous_standby_names")), r.sync_state
            FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
            WHERE s.slot_type IS DISTINCT FROM 'logical'
            """, [slot])
        guard let own = senders.first(where: { $0.isTrue(1) }), own[4] != "async" else {
            return nil
        }
        guard let names = SynchronousNames(own.text(2)) else {
            throw DatabaseFailure(
                code: "standby-synchronous",
                "commits wait for the standby, and synchronous_standby_names is not understood: '\(own.text(2))'",
                advice: "write it as FIRST 1 (name, name) or ANY 1 (name, name)")
        }
        let others = senders.filter { !$0.isTrue(1) }.map { $0.text(0) }
        return (own.text(2), own.isTrue(3), names.without(own.text(0), others: others))
    }

    /// Commits would wait for a standby that hears nothing, and whoever waits has its locks still. Safe to repeat.
    func leaveSynchronousNames(_ row: FrozenRow) async throws -> [String] {
        guard let before = row.synchronous, let meanwhile = row.synchronousMeanwhile else {
            return []
        }
        let connection = try open()
        try await alterSystem(connection, "synchronous_standby_names", meanwhile)
        try await reload(connection)
        let isThere = try await reached(by: deadline(.seconds(10))) {
            try await connection.query(
                """
                SELECT FROM pg_stat_replication AS r JOIN pg_replication_slots AS s ON s.active_pid = r.pid
                WHERE s.slot_name = $1 AND r.sync_state IN ('sync', 'quorum', 'potential')
                """, [row.slot]
            ).isEmpty
        }
        guard isThere else {
            throw DatabaseFailure(
                code: "standby-synchronous",
                "commits on the primary still wait for the standby, although synchronous_standby_names was changed to '\(meanwhile)'",
                advice:
                    "see in pg_file_settings and pg_settings of the primary what overrules ALTER SYSTEM"
            )
        }
        return [
            "synchronous_standby_names is '\(meanwhile)' until the standby follows again (before: '\(before)')"
        ]
    }

    /// Lets a standby that an earlier attempt has cut off, or was about to, follow to where it has to be.
    private func feed(to target: String, _ row: FrozenRow) async throws {
        let standby = try await openStandby()
        // Fed by an earlier attempt that was cut, it has everything already and cannot get more.
        if try await lookAtStandby().isStarved,
            try await standby.query("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", [target])[0]
                .isTrue(0)
        {
            return
        }
        try await giveBackSettings(row)
    }

    /// Writes what will cut the standby off into its files, which it does not read before it is told to. It follows on, and the freeze
    /// need not wait for its disk.
    func armStandby() async throws {
        guard configuration.standby != nil, !isAtStandby else { return }
        let look = try await lookAtStandby()
        // An earlier attempt has cut it off, or nobody knows what it follows.
        if look.isStreaming { try await writeStarvation(look) }
    }

    private func writeStarvation(_ before: StandbyLook) async throws {
        let standby = try await openStandby()
        let restore = Starvation.starved(restore: before.restore)
        if restore != before.restore { try await alterSystem(standby, "restore_command", restore) }
        if !Starvation.isStarved(conninfo: before.conninfo) {
            try await alterSystem(
                standby, "primary_conninfo", Starvation.starved(conninfo: before.conninfo))
        }
    }

    /// Whether it follows still, and has everything, while its files say otherwise already. One that does not come that far was about to
    /// be cut off by an earlier attempt.
    private func isArmed(_ look: StandbyLook, _ target: String) async throws -> Bool {
        guard look.isStarved, look.isStreaming else { return false }
        let standby = try await openStandby()
        return try await reached(by: deadline(.milliseconds(500))) {
            try await standby.query("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", [target])[0]
                .isTrue(0)
        }
    }

    /// - Returns: the standby as it stands still.
    private func starve(
        _ before: StandbyLook, until deadline: ContinuousClock.Instant
    ) async throws -> StandbyLook {
        let standby = try await openStandby()
        try await writeStarvation(before)
        try await reload(standby)
        var replayed = before.replayed
        var still = 0
        let isStill = try await reached(by: deadline) {
            let next = try await standby.query(StandbyLook.stillness)[0]
            still = next.text(0) == replayed && next.isTrue(1) ? still + 1 : 0
            replayed = next.text(0)
            return still >= 2
        }
        let look = try await lookAtStandby()
        guard isStill, look.replayed == replayed else {
            throw DatabaseFailure(
                code: "standby-moves",
                "the standby was cut off, and still "
                    + (look.isReceiving
                        ? "receives from its primary" : "replays, at \(look.replayed)"),
                advice: "see on the standby what sets primary_conninfo, and what replay waits for")
        }
        return look
    }

    /// What the freeze has set on the standby is as it was before. The other end of ``starve(_:until:)``.
    func giveBackSettings(_ row: FrozenRow?) async throws {
        let standby = try await openStandby()
        let look = try await lookAtStandby()
        let conninfo = Starvation.fed(conninfo: look.conninfo)
        let restore = Starvation.fed(restore: look.restore)
        if restore != look.restore {
            try await alterSystem(
                standby, "restore_command", row?.isRestoreSet == false ? nil : restore)
        }
        if conninfo != look.conninfo {
            try await alterSystem(
                standby, "primary_conninfo", row?.isConninfoSet == false ? nil : conninfo)
        }
        try await reload(standby)
    }
}
