// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What `sluice.fence` says.
struct FenceState: Sendable {
    var state: String
    var run: String
    var hasCensus: Bool
}

extension SchemaUpgrade {
    /// How many tables get or lose their trigger in one transaction, which holds a lock on each.
    static let tablesAtOnce = 500

    func fenceState() async throws -> FenceState? {
        guard try await isInstalled() else { return nil }
        return try await open().query(
            "SELECT state, run, census_transaction IS NOT NULL FROM sluice.fence"
        ).first.map {
            FenceState(state: $0.text(0), run: $0.text(1), hasCensus: $0.isTrue(2))
        }
    }

    /// Puts the fence up: rights, functions, memberships, DDL at once; then a trigger on each table.
    func raiseFence(_ task: DatabaseTask) async throws -> DatabaseReport {
        try await install(task)
        var state = try await fenceState()
        if let found = state, found.state == "lifting" {
            // An earlier lift left its triggers, or this run turned back and comes again.
            try await finishLift(task, until: deadline(configuration.drainTimeout))
            state = try await fenceState()
        }
        if let found = state, found.run != task.run.rawValue {
            throw DatabaseFailure(
                code: "fence-held", "the fence of run \(found.run) is up",
                advice: "roll that run back, or lower its fence, then retry")
        }
        if state?.state == "up" {
            return DatabaseReport(lines: ["the fence was up already"])
        }
        try await refuseSharedMigrator()
        try await refusePreparedTransactions()
        let clock = ContinuousClock()
        let began = clock.now
        do {
            let tables = try await closeEverything(task)
            return DatabaseReport(lines: [
                "fence up: \(tables) (\(Span(began.duration(to: clock.now))))"
            ])
        } catch let error as PostgresError where error.isConnectionLost {
            throw error
        } catch {
            let reason = failure(from: error)
            if reason.code == "superseded" { throw reason }
            isCancelled = false
            do {
                _ = try await lowerFence(task)
            } catch {
                throw DatabaseFailure(
                    code: reason.code,
                    "\(reason.message); the fence could not be taken down again: \(failure(from: error).message)",
                    advice: "lower the fence once the database answers", effect: .unknown)
            }
            throw reason
        }
    }

    private func closeEverything(_ task: DatabaseTask) async throws -> String {
        let deadline = deadline(configuration.drainTimeout)
        let epoch = task.epoch
        let run = task.run
        let belt = configuration.readOnlyDefault ? FenceStatements.storeSettings : ""
        let migrator = try await open().query("SELECT session_user")[0].text(0)
        let refusals = FenceStatements.refusals(migrator: migrator)
        var busy = try await patiently(until: deadline) { session in
            try session.transaction { session in
                try session.execute("SET LOCAL lock_timeout = '20ms'")
                try claim(session, epoch, run)
                try session.query(
                    """
                    INSERT INTO sluice.fence (state, run, epoch) VALUES ('raising', $1, $2)
                    ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch
                    """, [run.rawValue, "\(epoch.rawValue)"])
                try session.execute(
                    "SELECT sluice.close_rights();" + refusals + FenceStatements.storeMemberships
                        + belt)
                return try fenceTables(session)
            }
        }
        while busy > 0 {
            try checkCancellation()
            try await refuseEndlessWait(after: deadline.advanced(by: .seconds(10)))
            if ContinuousClock.now >= deadline {
                try await endStragglers(
                    task, try await holdersOfUnfencedTables(),
                    until: deadline.advanced(by: .seconds(10)))
            }
            try await pause(upTo: 15)
            busy = try await open().transaction { session in
                try session.execute("SET LOCAL lock_timeout = '50ms'")
                try claim(session, epoch, run)
                return try fenceTables(session)
            }
        }
        // Whatever is under way now, with every part of the fence in place, has to end before the census.
        return try await open().transaction { session in
            try claim(session, epoch, run)
            try session.query(
                "UPDATE sluice.fence SET state = 'up', older = (\(FenceStatements.transactionsUnderWay))"
            )
            return try session.query(
                """
                SELECT format('%s tables with a trigger, rights taken from %s relations, %s columns and %s functions',
                    (SELECT count(*) FROM pg_trigger WHERE tgname = '\(FenceSchema.trigger)'),
                    count(*) FILTER (WHERE kind = 'relation'), count(*) FILTER (WHERE kind = 'column'),
                    count(*) FILTER (WHERE kind = 'function')) FROM sluice.stored
                """)[0].text(0)
        }
    }

    /// Runs a transaction again while it loses waits for locks; at the deadline the straggler policy applies, once.
    private func patiently<Value: Sendable>(
        until deadline: ContinuousClock.Instant,
        _ body: @Sendable (borrowing Session) throws -> Value
    ) async throws -> Value {
        var hasEnded = false
        while true {
            try checkCancellation()
            do {
                return try await open().perform(body)
            } catch let error as PostgresError where error.isLockTimeout {
                if ContinuousClock.now >= deadline {
                    if hasEnded { throw error }
                    hasEnded = true
                    try await endStragglers(
                        nil, try await writers(), until: deadline.advanced(by: .seconds(10)))
                }
            }
            try await pause(upTo: 15)
        }
    }

    /// Restores everything and lets everybody through; takes the triggers away where that costs no time.
    ///
    /// `contract` and `revertExpand` take away those that are left, after the gates have opened.
    func lowerFence(_ task: DatabaseTask) async throws -> DatabaseReport {
        guard let found = try await fenceState() else {
            return DatabaseReport(lines: ["the fence was not up"])
        }
        // Another fleet's run on the same database: this run never had a fence, or has taken it down already.
        guard found.run == task.run.rawValue || found.state == "lifting" else {
            return DatabaseReport(lines: ["the fence of run \(found.run) is up; left alone"])
        }
        let clock = ContinuousClock()
        let began = clock.now
        if found.state != "lifting" {
            let epoch = task.epoch
            let run = task.run
            try await patiently(until: deadline(configuration.lockPatience)) { session in
                try session.transaction { session in
                    try claim(session, epoch, run)
                    let held = try session.query("SELECT run FROM sluice.fence").first?.text(0)
                    guard held == found.run else { return }
                    try session.execute(
                        "SELECT sluice.open_rights();" + FenceStatements.restoreMemberships
                            + FenceStatements.restoreSettings + FenceStatements.letThrough
                            + "UPDATE sluice.fence SET state = 'lifting'")
                    // With few tables one commit does it all; locks are held for a moment only.
                    if try triggerCount(session) <= 100, try unfenceTables(session) == 0 {
                        try forgetFence(session)
                    }
                }
            }
        }
        let opened = Span(began.duration(to: clock.now))
        // Writers pass already, and the gates wait for this task: tables that are being read keep their trigger for now.
        let left = try await finishLift(task, until: deadline(.zero))
        var lines = [
            "fence down: writes open after \(opened), \(Span(began.duration(to: clock.now))) in all"
        ]
        if left > 0 {
            lines.append(
                "\(left) tables keep their trigger until the gates have opened; it lets everything through"
            )
        }
        return DatabaseReport(lines: lines)
    }

    /// Takes the triggers of a lifted fence away, after the gates have opened.
    ///
    /// - Throws: `fence-left-over` when somebody reads a table so long that its trigger could not be taken away.
    func tidyFence(_ task: DatabaseTask) async throws {
        let left = try await finishLift(task, until: deadline(configuration.lockPatience))
        guard left > 0 else { return }
        let holders = try await holdersOfFencedTables().map(\.description).joined(separator: "; ")
        throw DatabaseFailure(
            code: "fence-left-over",
            "\(left) tables still have the fence's trigger (it lets everything through), because they are in use: \(holders)",
            advice: "let these transactions end, or end them, then retry")
    }

    /// Takes the triggers of a lifted fence away.
    ///
    /// - Returns: how many were left at the deadline, because somebody was reading the table all the time.
    @discardableResult
    func finishLift(_ task: DatabaseTask, until deadline: ContinuousClock.Instant) async throws
        -> Int
    {
        guard let found = try await fenceState(), found.state == "lifting" else { return 0 }
        let epoch = task.epoch
        let run = task.run
        while true {
            let left = try await open().transaction { session in
                try claim(session, epoch, run)
                // Another may have finished the lift meanwhile, and a new fence may be up.
                let state = try session.query("SELECT state FROM sluice.fence").first?.text(0)
                guard state == "lifting" else { return 0 }
                _ = try unfenceTables(session)
                let left = try triggerCount(session)
                if left == 0 { try forgetFence(session) }
                return left
            }
            if left == 0 || ContinuousClock.now >= deadline { return left }
            try await pause(upTo: 20)
        }
    }

    /// Fails, naming tables, when there is something that no ended session explains.
    func refuseEndlessWait(after deadline: ContinuousClock.Instant) async throws {
        guard ContinuousClock.now >= deadline else { return }
        let tables = try await open().query(
            "SELECT oid::regclass FROM sluice.unfenced_table ORDER BY oid LIMIT 20")
        throw DatabaseFailure(
            code: "stragglers",
            "these tables could not be fenced: "
                + tables.map { $0.text(0) }.joined(separator: ", "),
            advice: "look in pg_locks at who holds them, then retry")
    }

    func deadline(_ span: Span) -> ContinuousClock.Instant {
        ContinuousClock.now.advanced(by: span.duration)
    }

    private func refuseSharedMigrator() async throws {
        let others = try await open().query(
            """
            SELECT \(FenceStatements.description) FROM pg_stat_activity AS a WHERE a.usename = session_user
                AND a.datname = current_database() AND a.pid <> pg_backend_pid() ORDER BY a.pid LIMIT 20
            """)
        if !others.isEmpty {
            throw DatabaseFailure(
                code: "migrator-shared",
                "the migrator's role is in use by others, whom the fence would let through: "
                    + others.map { $0.text(0) }.joined(separator: "; "),
                advice: "give the migrator a role of its own, or close these sessions")
        }
    }

    func refusePreparedTransactions() async throws {
        let prepared = try await open().query(
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 20"
        )
        if !prepared.isEmpty {
            let names = prepared.map { quotedLiteral($0.text(0)) }.joined(separator: ", ")
            throw DatabaseFailure(
                code: "prepared-transactions", "prepared transactions are pending: \(names)",
                advice: "COMMIT PREPARED or ROLLBACK PREPARED each of them, then retry")
        }
    }
}

func fenceHeld(by run: String) -> DatabaseFailure {
    DatabaseFailure(
        code: "fence-held", "the fence of run \(run) is up",
        advice: "wait until that run has ended, or roll it back, then retry")
}

/// - Returns: how many tables are still without their trigger.
private func fenceTables(_ session: borrowing Session) throws -> Int {
    try session.query("SELECT sluice.fence_tables(\(SchemaUpgrade.tablesAtOnce))")
    return Int(try session.query("SELECT count(*) FROM sluice.unfenced_table")[0].integer(0) ?? 0)
}

/// - Returns: how many of the tables it came to were busy.
private func unfenceTables(_ session: borrowing Session) throws -> Int64 {
    try session.execute("SET LOCAL lock_timeout = '10ms'")
    return try session.query("SELECT sluice.unfence_tables(100)")[0].integer(0) ?? 0
}

private func triggerCount(_ session: borrowing Session) throws -> Int {
    let count = try session.query(
        "SELECT count(*) FROM pg_trigger WHERE tgname = '\(FenceSchema.trigger)'")
    return Int(count[0].integer(0) ?? 0)
}

private func forgetFence(_ session: borrowing Session) throws {
    try session.execute(
        FenceStatements.removeRefusals + "DELETE FROM sluice.stored; DELETE FROM sluice.fence")
}
