// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What `sluice.fence` says.
struct FenceState: Sendable {
    var state: String
    var run: String
    /// When it went up, for people.
    var since: String
    /// The transaction of its census.
    var census: String?
    /// When it went up, for the server.
    var raisedAt: String?
    /// The run has ended without this database, and has left its fence up for a later one.
    var isLeftOut = false

    func isHeld(against task: DatabaseTask) -> Bool {
        run != task.run.rawValue && state != "lifting"
    }

    var held: DatabaseFailure {
        DatabaseFailure(
            code: "fence-held", "the fence of run \(run) is up since \(since)",
            advice: FenceSchema.heldAdvice(run))
    }
}

extension SchemaUpgrade {
    /// How many tables get or lose their trigger in one transaction, which holds a lock on each.
    static let tablesAtOnce = 500
    static let tablesFreedAtOnce = 100

    func fenceState() async throws -> FenceState? {
        guard try await isInstalled() else { return nil }
        return try await open().query(
            """
            SELECT state, run, \(FenceSchema.utcText("raised_at")), census_transaction, raised_at,
                state = 'up' AND \(FenceStatements.isLeftOut) FROM sluice.fence
            """
        ).first.map {
            FenceState(
                state: $0.text(0), run: $0.text(1), since: $0.text(2), census: $0[3],
                raisedAt: $0[4], isLeftOut: $0.isTrue(5))
        }
    }

    /// Puts the fence up: sequences, functions and DDL at once; then a trigger on each table.
    func raiseFence(_ task: DatabaseTask) async throws -> DatabaseReport {
        try await install(task)
        if let found = try await fenceState() {
            if found.isHeld(against: task) { throw found.held }
            if found.state == "up" {
                return DatabaseReport(lines: ["the fence was up already"])
            }
        }
        try await refuseSharedMigrator()
        try await refusePreparedTransactions()
        let clock = ContinuousClock()
        let began = clock.now
        do {
            let closed = try await closeEverything(task)
            var report = DatabaseReport(lines: [
                "fence up: \(closed.text) (\(Span(began.duration(to: clock.now))))"
            ])
            report.older = closed.older == 0 ? 0 : try await olderThanFence()
            return report
        } catch let error as PostgresError where error.isConnectionLost {
            throw error
        } catch {
            let reason = failure(from: error)
            // In both cases the database belongs to somebody else now, and nothing of this attempt is in it.
            if ["superseded", "fence-held"].contains(reason.code) { throw reason }
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

    /// How many transactions the census will have to wait for; most of those under way end within milliseconds.
    private func olderThanFence() async throws -> Int {
        var readers: Set<String>?
        return try await settled(within: .milliseconds(20)) { try await olderWriters(&readers) }
            .count
    }

    /// - Returns: what was closed, for people, and how many transactions were under way when it was.
    private func closeEverything(_ task: DatabaseTask) async throws -> (text: String, older: Int64?)
    {
        let deadline = deadline(task.budget ?? configuration.drainTimeout)
        let fenceTables = """
            SELECT sluice.fence_tables(\(SchemaUpgrade.tablesAtOnce));
            SELECT count(*) FROM sluice.unfenced_table
            """
        // One transaction each: several statements that are sent together are one. Only the last of them waits for the disk,
        // and with it for those before; nothing is promised of a fence that is being raised.
        let close =
            "SET LOCAL synchronous_commit = off; SET LOCAL lock_timeout = '20ms';\n"
            + call("claim_fence", task)
            + "SELECT sluice.close_rights();\n"
            + FenceStatements.refusals(
                migrator: migrator, isComplete: isComplete,
                counters: RefusalCounters(of: task.run))
            + FenceStatements.rememberMemberships
            + (configuration.readOnlyDefault ? FenceStatements.storeSettings : "") + fenceTables
        let closeMore =
            "SET LOCAL synchronous_commit = off;\n" + claim(task) + expectFence(task, "raising")
        var left = try await patiently(until: deadline) { session in
            try session.execute(close)[0].integer(0) ?? 0
        }
        var before = Int64.max
        // Only writers of a table wait behind its trigger, never readers. Where they follow each other without a gap, a longer
        // wait lets those under way end while no other begins.
        var wait = 50
        while left > 0 {
            try checkCancellation()
            try await refuseEndlessWait(after: deadline.advanced(by: .seconds(10)))
            if ContinuousClock.now >= deadline {
                try await endStragglers(
                    task, try await holdersOfUnfencedTables(),
                    until: deadline.advanced(by: .seconds(10)))
            }
            // All that are left are busy; otherwise there are more of them than one transaction takes.
            if left == before {
                try await pause(upTo: 15)
                wait = min(wait * 2, 400)
            }
            before = left
            left =
                try await open().execute(
                    closeMore + "SET LOCAL lock_timeout = '\(wait)ms';\n" + fenceTables
                )[0].integer(0) ?? 0
        }
        // Whatever is under way now, with every part of the fence in place, has to end before the census.
        let row = try await open().execute(
            claim(task) + expectFence(task, "raising")
                + """
                UPDATE sluice.fence SET state = 'up', older = (\(FenceStatements.transactionsUnderWay));
                SELECT format('%s tables with a trigger, rights taken from %s sequences and %s functions, %s functions read only',
                    (SELECT count(*) FROM pg_trigger WHERE tgname = '\(FenceSchema.trigger)'),
                    count(*) FILTER (WHERE kind = 'relation'), count(*) FILTER (WHERE kind = 'function'),
                    count(*) FILTER (WHERE kind = 'body')), (SELECT jsonb_array_length(older) FROM sluice.fence)
                FROM sluice.stored
                """)[0]
        return (row.text(0), row.integer(1))
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
        let found = try await fenceState()
        var lines: [String] = []
        if let proof = task.proof { lines += try await hold(found, against: proof, task) }
        guard let found else {
            var report = DatabaseReport(lines: ["the fence was not up"])
            try await tellRefusals(task, &report)
            return report
        }
        // Another fleet's run on the same database: this run never had a fence, or has taken it down already.
        guard !found.isHeld(against: task) else {
            return DatabaseReport(lines: ["the fence of run \(found.run) is up; left alone"])
        }
        lines += try await open().query(FenceStatements.newMemberships).map {
            "while the fence was up, \($0.text(0))"
        }
        lines += try await sequencesGivenAway()
        let frozen = found.state == "up" ? try await endFrozenSessions(task) : FrozenSessions()
        lines += frozen.lines
        var old: [Straggler]?
        if task.proof != nil, found.state == "up" {
            lines += try await endTransactionsOfTheOldSchema(task)
            let sessions = try await oldSessions().filter { !frozen.contains($0) }
            try await endOldSessions(sessions)
            old = sessions
            lines += try await tablesWithoutTrigger().map {
                "while the fence was up, table \($0) was made or lost its trigger"
            }
            lines += level == .owner ? levelLines() : []
        }
        let underWay = try await statementsOfTheWindow(found)
        let clock = ContinuousClock()
        let began = clock.now
        // Writers pass after the first transaction, and the gates wait for this task: triggers that cannot go at once stay.
        let left =
            if found.state == "lifting" {
                try await finishLift(task, until: deadline(.zero))
            } else {
                try await lift(task, except: underWay.map(\.statement))
            }
        lines.insert("fence down: writes open after \(Span(began.duration(to: clock.now)))", at: 0)
        if let old { lines += try await names(ofOld: old) }
        lines += underWay.prefix(20).map {
            "may write nothing, because it was under way before the fence came down: \($0.description)"
        }
        if left > 0, underWay.isEmpty {
            lines.append(
                "\(left) tables keep their trigger until the gates have opened; it lets everything through"
            )
        }
        var report = DatabaseReport(lines: lines)
        try await tellRefusals(task, &report)
        if task.proof != nil {
            report.sessions = try? await windowSessions(since: found.raisedAt)
            if frozen.isOnNode { report.sessions?.isOnNode = true }
        }
        return report
    }

    /// With few tables one transaction does it all; nobody is waited for, and locks are held for a moment only.
    ///
    /// - Parameter underWay: statements that may write nothing; while there are such, the triggers stay.
    private func lift(_ task: DatabaseTask, except underWay: [String]) async throws -> Int64 {
        let mostAtOnce = underWay.isEmpty ? SchemaUpgrade.tablesFreedAtOnce : -1
        let list = underWay.map { "{\"statement\":\"\($0)\"}" }.joined(separator: ",")
        let lift =
            claim(task) + expectFence(task, "raising", "up")
            + "SELECT sluice.open_rights();\n" + FenceStatements.restoreMemberships
            + FenceStatements.restoreSettings
            + FenceStatements.letThrough(
                isComplete: isComplete, except: underWay)
                + """
                UPDATE sluice.fence SET state = 'lifting', older = coalesce(older, '[]') || '[\(list)]'::jsonb;
                UPDATE sluice.epoch SET lifted = run;
                SET LOCAL lock_timeout = '1ms';
                SELECT CASE WHEN count(*) <= \(mostAtOnce)
                    THEN sluice.finish_lift(\(SchemaUpgrade.tablesFreedAtOnce)) ELSE count(*) END
                FROM pg_trigger WHERE tgname = '\(FenceSchema.trigger)'
                """
        do {
            return try await patiently(until: deadline(configuration.lockPatience)) { session in
                try session.execute(lift)[0].integer(0) ?? 0
            }
        } catch let error as PostgresError
            where ["fence-down", "fence-held"].contains(error.refusal?.code)
        {
            // Somebody has taken it down meanwhile.
            return 0
        }
    }

    /// Takes the triggers of a lifted fence away, after the gates have opened.
    ///
    /// - Returns: what is left because old readers, which the census has spared, still read; the next fence takes it over.
    /// - Throws: `fence-left-over` when somebody else uses a table so long that its trigger could not be taken away.
    func tidyFence(_ task: DatabaseTask) async throws -> [String] {
        try await dropRefusalCounters(task)
        let spared = Set(try await sparedReaders().map(\.process))
        let left = try await finishLift(
            task, until: deadline(spared.isEmpty ? configuration.lockPatience : .seconds(1)))
        guard left > 0 else { return [] }
        let underWay = try await statementsOfTheWindowLeft()
        if !underWay.isEmpty {
            return [
                "\(left) tables keep the fence's trigger until the next run; it lets everything through but "
                    + underWay.prefix(20).map(\.description).joined(separator: "; ")
            ]
        }
        let found = try await holdersOfFencedTables()
        let holders = found.map(\.description).joined(separator: "; ")
        if !spared.isEmpty, found.allSatisfy({ spared.contains($0.process) }) {
            return [
                "\(left) tables keep the fence's trigger, which lets everything through, until the next run: they are being read by \(holders)"
            ]
        }
        throw DatabaseFailure(
            code: "fence-left-over",
            "\(left) tables still have the fence's trigger (it lets everything through), because they are in use: \(holders)",
            advice: "let these transactions end, or end them")
    }

    /// Takes the triggers of a lifted fence away, some at a time, with a lock on each that is waited for 10 ms at most: so long
    /// new readers of that table wait as well.
    ///
    /// - Returns: how many were left at the deadline, because somebody was reading the table all the time.
    @discardableResult
    func finishLift(_ task: DatabaseTask, until deadline: ContinuousClock.Instant) async throws
        -> Int64
    {
        guard let found = try await fenceState(), found.state == "lifting" else { return 0 }
        try await giveBackWhatAHandLeft(task)
        let finish =
            claim(task)
            + "SET LOCAL lock_timeout = '10ms'; SELECT sluice.finish_lift(\(SchemaUpgrade.tablesFreedAtOnce))"
        var before = Int64.max
        while true {
            try checkCancellation()
            if try await !statementsOfTheWindowLeft().isEmpty {
                if ContinuousClock.now >= deadline { return try await tablesWithTrigger() }
                try await pause(upTo: 20)
                continue
            }
            let left = try await open().execute(finish)[0].integer(0) ?? 0
            if left == 0 || ContinuousClock.now >= deadline { return left }
            if left == before { try await pause(upTo: 20) }
            before = left
        }
    }

    private func tablesWithTrigger() async throws -> Int64 {
        try await open().query(
            "SELECT count(*) FROM pg_trigger WHERE tgname = '\(FenceSchema.trigger)'")[0].integer(0)
            ?? 0
    }

    /// Whoever lowers a fence by hand opens the rights; memberships and settings stay stored until a task comes by.
    private func giveBackWhatAHandLeft(_ task: DatabaseTask) async throws {
        let isLeft = "SELECT FROM sluice.stored WHERE kind IN ('membership', 'setting') LIMIT 1"
        if try await open().query(isLeft).isEmpty { return }
        try await open().transaction { session in
            // Another run may have taken the fence over meanwhile, and have taken these away again.
            let found = try session.execute(
                claim(task) + "SELECT FROM sluice.fence WHERE state = 'lifting'")
            if found.isEmpty { return }
            try session.execute(
                FenceStatements.restoreMemberships + FenceStatements.restoreSettings)
        }
    }

    /// Fails, naming tables, when there is something that no ended session explains.
    func refuseEndlessWait(after deadline: ContinuousClock.Instant) async throws {
        guard ContinuousClock.now >= deadline else { return }
        let tables = try await open().query(
            """
            SELECT oid::regclass::text FROM sluice.unfenced_table UNION ALL SELECT oid::regclass::text FROM sluice.open_sequence
            UNION ALL SELECT oid::regprocedure::text FROM sluice.open_function LIMIT 20
            """)
        throw DatabaseFailure(
            code: "stragglers",
            "these could not be fenced: "
                + tables.map { $0.text(0) }.joined(separator: ", "),
            advice: "look in pg_locks at who holds them")
    }

    func deadline(_ span: Span) -> ContinuousClock.Instant {
        ContinuousClock.now.advanced(by: span.duration)
    }

    /// Sessions of other runs do not count: the row of `sluice.fence` decides between them and this one, and they look at it.
    private func refuseSharedMigrator() async throws {
        let others = try await settled(within: .milliseconds(500)) {
            try await open().query(
                """
                SELECT \(FenceStatements.description) FROM pg_stat_activity AS a WHERE a.usename = session_user
                    AND a.datname = current_database() AND a.pid <> pg_backend_pid()
                    AND a.pid NOT IN (SELECT l.pid FROM \(SchemaUpgrade.otherSessions) AS l) ORDER BY a.pid LIMIT 20
                """
            ).map { $0.text(0) }
        }
        if !others.isEmpty {
            throw DatabaseFailure(
                code: "migrator-shared",
                "the migrator's role is in use by others, whom the fence would let through: "
                    + others.joined(separator: "; "),
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
                advice: "COMMIT PREPARED or ROLLBACK PREPARED each of them")
        }
    }
}

/// Fails, in a transaction, unless this run's fence is in one of these states.
func expectFence(_ task: DatabaseTask, _ states: String...) -> String {
    "SELECT sluice.expect_fence(\(quotedLiteral(task.run.rawValue)), '{\(states.joined(separator: ","))}');\n"
}
