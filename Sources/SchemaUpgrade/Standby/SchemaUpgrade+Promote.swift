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

    /// Promotes the standby while nodes go over to read from it. Its fence stays up, and that of the primary, so that neither takes writes;
    /// from here on no task but the two of a promotion works on the primary.
    func promoteBehindFence(_ task: DatabaseTask) async throws -> DatabaseReport {
        let (_, isPromoted) = try await onceStarted(
            "the standby", at: standbyAccess().address
        ) { try await lookBeforePromotion(task) }
        if isPromoted { return DatabaseReport(lines: ["the standby was promoted already"]) }
        do {
            try await onceStarted("the primary", at: configuration.address) {
                try await prepareSession(for: task)
            }
            try await bringUpToDate(task)
            try await leavePrimary(task)
        } catch let error as PostgresError {
            throw await reasonNotToPromote(error)
        }
        do {
            let lines = try await promote()
            await warmUpStandby(task)
            return DatabaseReport(
                lines: lines + ["its fence is up still: neither server takes writes"])
        } catch let error as PostgresError where error.isConnectionLost {
            throw error
        } catch {
            var reason = failure(from: error)
            reason.effect = .unknown
            throw reason
        }
    }

    /// What is to be said of a primary that could not be asked.
    private func reasonNotToPromote(_ error: PostgresError) async -> any Error {
        if !error.isUnanswered, await answers() { return error }
        // One that was lost in the middle may be had again.
        if error.isConnectionLost { return error }
        return DatabaseFailure(
            code: "primary-unknown",
            "the primary cannot be asked to shut, so the standby is not promoted: \(error)",
            advice:
                "start the primary, whose fence still holds, and try again; or, when it is lost, make sure that it never comes back "
                + "(its machine off, or its directory gone), then promote the standby by hand, SELECT pg_promote(), and try again",
            // An earlier attempt may have shut it.
            effect: .unknown)
    }

    /// As ``warmUp(_:)``, on the server that is about to let writes in.
    private func warmUpStandby(_ task: DatabaseTask) async {
        struct RolledBack: Error {}
        _ = try? await openStandby().transaction { session in
            try session.execute(
                "SET LOCAL lock_timeout = '10ms';" + keepOut(task)
                    + "SELECT sluice.close_rights(); SELECT sluice.open_rights()")
            throw RolledBack()
        }
    }

    /// Shuts the primary for good, promotes the standby where that is not done yet, and takes the fence down there.
    ///
    /// There is never a moment at which both take writes: the standby has the fence, which comes down there when nobody may log in at
    /// the primary any more, its own fence stays up, and none of its sessions is left. It promotes itself while these end: most of the
    /// time that takes is the disk's. A primary that cannot be asked is not taken for shut: it may only be cut off from here. Whoever
    /// knows better promotes the standby by hand, which this task finds and goes on from.
    func promoteStandby(_ task: DatabaseTask) async throws -> DatabaseReport {
        let clock = ContinuousClock()
        let began = clock.now
        await endWatchOfStandby()
        let (row, isPromoted) = try await onceStarted(
            "the standby", at: standbyAccess().address
        ) { try await lookBeforePromotion(task) }
        var lines: [String] = []
        var shut = Span.zero
        var promoted: Result<[String], any Error> = .success([])
        do {
            try await onceStarted("the primary", at: configuration.address) {
                try await prepareSession(for: task)
            }
            try await bringUpToDate(task)
            let isThere = try await closePrimary(task, isPromoted: isPromoted)
            async let promotion = self.promotion(isPromoted: isPromoted)
            let emptied = await emptied(isThere, row?.slot)
            // Whatever came of the primary: what this server is from now on has to be known.
            promoted = await promotion
            lines += try emptied.get()
            shut = Span(began.duration(to: clock.now))
        } catch var failure as DatabaseFailure where isPromoted {
            failure.effect = .unknown
            throw failure
        } catch let error as PostgresError {
            guard isPromoted else { throw await reasonNotToPromote(error) }
            if !error.isUnanswered, await answers() { throw error }
            lines.append(
                "the primary does not answer, so nobody has seen whether sessions are left there: its fence was to stay up for good before the standby was "
                    + "promoted, or whoever promoted the standby by hand has taken the primary for lost; stop it, and let nothing start it as it is"
            )
        }
        do {
            lines += try promoted.get()
            try await moveToStandby(task)
            lines += try await openStandbyForWrites(task)
            let taken = Span(began.duration(to: clock.now))
            lines.append(
                "the new primary takes writes after \(taken); after \(shut) the old one was shut")
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

    /// What the freeze has set on the new primary is as it was before, and what was kept of it is gone. Writers wait for a promotion, and
    /// not for this: the first task after it does it.
    func tidyPromotion(_ task: DatabaseTask) async throws {
        guard isAtStandby, let row = try await frozenRow(open()) else { return }
        try await giveBackSettings(row)
        _ = try await open().execute(claim(task) + "DELETE FROM sluice.standby")
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

    /// - Returns: what is worth saying of it; nothing where it is the primary already.
    private func promotion(isPromoted: Bool) async -> Result<[String], any Error> {
        do { return .success(isPromoted ? [] : try await promote()) } catch {
            return .failure(error)
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
