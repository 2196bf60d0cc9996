// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// The way back: the frozen standby, which knows nothing of the migration, takes the place of the primary.
extension SchemaUpgrade {
    /// Makes the session be one with the server that the task is for.
    func turn(_ task: DatabaseTask) async throws {
        let isForStandby = task.isPromoted == true
        if isForStandby { _ = try standbyAccess() }
        guard isAtStandby != isForStandby else { return }
        await close()
        await endWatch()
        isAtStandby = isForStandby
    }

    /// The server that the session is with.
    var address: String {
        isAtStandby
            ? configuration.standby?.address ?? configuration.address : configuration.address
    }

    /// Shuts the primary for good, promotes the standby, and takes the fence down there.
    ///
    /// There is never a moment at which both take writes: the fence on the primary stays up, nobody may log in there any more and
    /// nobody is left, and only then is the standby promoted. A primary that cannot be asked is not taken for shut: it may only be
    /// cut off from here. Whoever knows better promotes the standby by hand, which this task finds and goes on from.
    func promoteStandby(_ task: DatabaseTask) async throws -> DatabaseReport {
        let clock = ContinuousClock()
        let began = clock.now
        let (row, isPromoted) = try await lookBeforePromotion(task)
        var lines: [String] = []
        var shut = Span.zero
        do {
            try await prepareSession(for: task)
            try await bringUpToDate(task)
            lines += try await shutPrimary(task, isPromoted: isPromoted)
            shut = Span(began.duration(to: clock.now))
        } catch var failure as DatabaseFailure where isPromoted {
            failure.effect = .unknown
            throw failure
        } catch let error as PostgresError {
            if !error.isUnanswered, await answers() { throw error }
            guard isPromoted else {
                // One that was lost in the middle may be had again.
                if error.isConnectionLost { throw error }
                throw DatabaseFailure(
                    code: "primary-unknown",
                    "the primary cannot be asked to shut, so the standby is not promoted: \(error)",
                    advice:
                        "start the primary, whose fence still holds, and try again; or, when it is lost, make sure that it never comes back "
                        + "(its machine off, or its directory gone), then promote the standby by hand, SELECT pg_promote(), and try again",
                    // An earlier attempt may have shut it.
                    effect: .unknown)
            }
            lines.append(
                "the primary does not answer; whoever promoted the standby by hand has taken it for lost"
            )
        }
        do {
            if !isPromoted { lines += try await promote() }
            try await moveToStandby(task)
            // Over connections of their own: writers wait for the fence alone.
            async let given: Void = giveBackSettings(row)
            lines += try await openStandbyForWrites(task)
            let taken = Span(began.duration(to: clock.now))
            lines.append(
                "the new primary takes writes after \(taken); after \(shut) the old one was shut")
            try await given
            // What is kept of the freeze is needed until all is as it was before it.
            if try await frozenRow(open()) != nil {
                _ = try await open().execute(claim(task) + "DELETE FROM sluice.standby")
            }
        } catch let error as PostgresError where error.isConnectionLost {
            throw error
        } catch {
            var reason = failure(from: error)
            reason.effect = .unknown
            throw reason
        }
        lines += try await nextForOldPrimary(row?.slot)
        return DatabaseReport(lines: lines, duration: Span(began.duration(to: clock.now)))
    }

    /// Whether the primary answers a session of its own.
    private func answers() async -> Bool {
        guard
            let probe = try? await PostgresConnection.connect(
                ConnectionOptions(
                    address: configuration.address, applicationName: SchemaUpgrade.name))
        else { return false }
        let answer = try? await probe.query("SELECT")
        await probe.close()
        return answer != nil
    }

    /// A standby that does not answer may be the primary already, unless the primary says that it was never shut.
    private func lookBeforePromotion(_ task: DatabaseTask) async throws -> (FrozenRow?, Bool) {
        do {
            let row = try await frozenRow(openStandby())
            return (row, try await checkPromotable(row, task))
        } catch var failure as DatabaseFailure where failure.code == "standby-unreachable" {
            failure.effect = .unknown
            do {
                try await prepareSession(for: task)
                if try await frozenRow(open())?.state != "shut" { failure.effect = .none }
            } catch let error as PostgresError where error.isUnanswered {}
            throw failure
        }
    }

    /// Whether the standby shows what was before the migration, and nothing later.
    ///
    /// - Returns: whether it was promoted already.
    private func checkPromotable(_ row: FrozenRow?, _ task: DatabaseTask) async throws -> Bool {
        let standby = try await openStandby()
        let look = try await lookAtStandby()
        guard look.isInRecovery else {
            let isOurs = try await standby.query(
                "SELECT lifted FROM sluice.epoch WHERE lifted = $1", [task.run.rawValue])
            if row?.run == task.run.rawValue || !isOurs.isEmpty { return true }
            throw DatabaseFailure(
                code: "standby-primary",
                "the standby's address leads to a server that is no standby, and was not frozen by this run",
                advice: "see which server writes now; sluice cannot tell", effect: .unknown)
        }
        guard let row, row.run == task.run.rawValue, row.state == "freezing", look.isStarved,
            !look.isReceiving
        else {
            throw DatabaseFailure(
                code: "standby-thawed",
                "the standby is not frozen for this run, so it may have what the migration has done",
                advice:
                    "see on the standby who gave it its primary_conninfo back; it is no way back any more"
            )
        }
        return false
    }

    /// Nobody writes on this server any more, whoever starts it again: the fence stays, and nobody may log in.
    private func shutPrimary(_ task: DatabaseTask, isPromoted: Bool) async throws -> [String] {
        let connection = try open()
        if isPromoted,
            try await connection.query("SELECT pg_is_in_recovery()")[0].isTrue(0)
        {
            return ["the old primary is a standby now, as whoever promoted this one has made it"]
        }
        let row = try await frozenRow(connection)
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
        _ = try await connection.execute(
            claim(task) + expectFence(task, "up")
                + """
                UPDATE sluice.fence SET passes = NULL, pass = NULL;
                UPDATE sluice.standby SET state = 'shut', connection_limit = coalesce(connection_limit, (
                    SELECT datconnlimit FROM pg_database WHERE datname = current_database()));
                DO $shut$ BEGIN
                    EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 0', current_database());
                END $shut$
                """)
        do {
            return try await emptyPrimary() + otherStandbys(row.slot)
        } catch {
            if let lost = error as? PostgresError, lost.isConnectionLost { throw lost }
            var reason = failure(from: error)
            reason.effect = .unknown
            throw reason
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
    private func otherStandbys(_ slot: String) async throws -> [String] {
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

    private func promote() async throws -> [String] {
        let standby = try await openStandby()
        let clock = ContinuousClock()
        let began = clock.now
        _ = try await standby.query("SELECT pg_promote(false)")
        let isDone = try await reached(by: deadline(.seconds(60))) {
            try await standby.query("SELECT NOT pg_is_in_recovery()")[0].isTrue(0)
        }
        guard isDone else {
            throw DatabaseFailure(
                code: "standby-promotion",
                "the standby was told to promote itself and has not, for a minute",
                advice: "see in its log why, and try again")
        }
        return ["the standby is the primary now (\(Span(began.duration(to: clock.now))))"]
    }

    /// The connection that has promoted the standby is the session from now on.
    private func moveToStandby(_ task: DatabaseTask) async throws {
        let opened = try await openStandby()
        standby = nil
        await close()
        isAtStandby = true
        // What was set to keep the freeze out of the standby's log.
        _ = try await opened.execute("RESET ALL")
        try await adopt(opened) { try await self.takeSessionLocks(task) }
    }

    /// The fence came with what the standby has replayed.
    private func openStandbyForWrites(_ task: DatabaseTask) async throws -> [String] {
        try await prepareSession(for: task)
        try await bringUpToDate(task)
        let lines = try await lowerFence(task).lines
        if let fence = try await fenceState(), fence.state != "lifting" { throw fence.held }
        return lines
    }

    /// - Parameter slot: that the standby had on the old primary.
    private func nextForOldPrimary(_ slot: String?) async throws -> [String] {
        if configuration.standby?.patroni != nil {
            return [
                "the old primary has the migration, or a part of it, and must not be served again; Patroni makes it a standby of the new one once "
                    + "the run has told it who is the primary"
            ]
        }
        let canRewind = try await open().query(
            "SELECT current_setting('wal_log_hints') = 'on' OR current_setting('data_checksums') = 'on'"
        )[0].isTrue(0)
        let name = quotedLiteral(slot ?? "NAME")
        let copy = "empty its directory and run pg_basebackup -R -S NAME from the new primary"
        // Before 16, pg_rewind finds nothing to do on a server that was promoted and has not made a checkpoint since.
        return [
            "the old primary has the migration, or a part of it, and must not be served again; to make it a standby of the new one: stop it; on the "
                + "new primary CHECKPOINT, and SELECT pg_create_physical_replication_slot(\(name)); then "
                + (canRewind
                    ? "pg_rewind --target-pgdata=DIR --source-server=ADDRESS --write-recovery-conf, start it; or "
                        + copy
                    : copy + " (pg_rewind needs wal_log_hints or data checksums)")
        ]
    }
}

extension PostgresError {
    /// Whether no session could be made, or the one that there was is gone.
    var isUnanswered: Bool {
        if case .connectFailed = self { true } else { isConnectionLost }
    }
}
