// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
public import UpgradeModel

/// Performs the database tasks of runs, one at a time, over one session that stays open between them.
///
/// Every task looks first at what is already so, and may be asked for again at any time, by this process or by the next. What
/// changes the database also checks and raises the epoch in the same transaction, so a leader that was replaced changes
/// nothing: its task fails with `superseded`. When a session is lost, a new one finds out what took effect.
///
/// Codes of failures: `busy`, `superseded`, `unreachable`, `connection-lost`, `cancelled`, `pooler`, `preflight`, `other-run`, `server-version`, `database-address`,
/// `migrator-shared`, `prepared-transactions`, `stragglers`, `fence-held`, `fence-down`, `fence-left-over`, `lock-timeout`, `sql`, `migration-edited`,
/// `migration-missing`, `migration-out-of-order`, `migration-requires`, `migration-replaces`, `migration-place`, `migration-rights`,
/// `migration-claim`, `object-differs`, `schema-changed`, `statement-timeout`, `owner-unclear`, `owner-missing`, `way-back`, `batches`, `no-down-migration`, `schema-newer`, `pass-role`, `tool-ledger`,
/// `standby-…`, `primary-…`, `manager-…`, `wal-budget`.
public actor SchemaUpgrade {
    let configuration: Configuration
    var connection: PostgresConnection?
    /// What the session found as its own search path; migrations run with it.
    var searchPath = ""
    /// What migrations find around them, as this session has found out.
    var knownSurroundings: Surroundings?
    /// The role that the session has logged in as.
    var migrator = ""
    /// Whether that is a superuser, so that the fence can hold everything.
    var isComplete = true
    /// The task whose locks the session has.
    var lockedTask: DatabaseTask?
    /// The task that found no other session of its run, since this session has had its locks.
    var alone: DatabaseTask?
    /// The schema `sluice` as this session has seen it; `nil` while it is not there.
    var installation: Installation?
    var isCancelled = false
    /// Sessions that were ended because they held a lock of Sluice's own, until a report names them.
    var intruders: [String] = []
    /// Who has kept the migrations in hand waiting for a lock, for people.
    var waitedFor: [String] = []
    /// Whom the last attempt waited for that was looked at, while they are tried again.
    var waitsFor: [String] = []
    /// How far the batches of the statement in hand have come.
    var batch: Batch?
    /// What came of batches that have ended, for the report.
    var batches: [String] = []
    /// The server process of the session; `nil` while there is none.
    var process: Int32?
    /// Looks beside the session at who waits for whom.
    var watcher: PostgresConnection?
    /// With the standby, beside the session.
    var standby: PostgresConnection?
    /// When it was last asked whether it is there.
    var standbyAnswered = ContinuousClock.now
    /// Who looks after both servers, once it has been asked, and who was its leader then.
    var patroni: Patroni?
    var managerLeader: String?
    /// Whether the session is with the standby, which has taken the primary's place.
    var isAtStandby = false
    /// Transactions that were rolled back on the standby when preflight looked.
    var rollbacksBefore: Int64?
    /// Looks at the standby beside all that.
    var standbyWatch = StandbyWatch()
    /// Which server is waited for because it starts, and for how long so far, for people.
    var starting: String?
    /// Why a migration that a frozen standby is the way back of was cut off.
    var guardTrouble: DatabaseFailure?
    private(set) var current: DatabaseTask?
    /// Told to stop before it came, or after it ended.
    private var stopped: DatabaseTask?
    /// Whether the current task was told to stop; it may be clearing up after that, which is not to be stopped again.
    private var wasTold = false

    public init(_ configuration: Configuration) {
        self.configuration = configuration
    }

    /// Performs a task to its end. Cancelling the calling task is the same as ``cancel()``.
    public func perform(_ task: DatabaseTask) async -> DatabaseOutcome {
        guard current == nil else {
            return .failed(
                DatabaseFailure(
                    code: "busy", "another database task is under way",
                    advice: "wait for its outcome"))
        }
        if stopped?.isAttempt(task) == true {
            stopped = nil
            return .failed(cancelled())
        }
        let outcome = await stoppable(task) { await self.outcome(of: task) }
        guard case .done(var report) = outcome else { return outcome }
        report.lines += intruders.map { "ended, for it held up Sluice's own lock: \($0)" }
        intruders = []
        return .done(report)
    }

    /// Makes a task the current one while it is performed: it can be stopped, and stops with the calling task.
    func stoppable(
        _ task: DatabaseTask, _ body: () async -> DatabaseOutcome
    ) async -> DatabaseOutcome {
        current = task
        isCancelled = false
        wasTold = false
        defer { current = nil }
        return await withTaskCancellationHandler(operation: body) {
            // Cancellation handlers cannot wait; the cancel request is one short message and ends by itself.
            Task { await stop(task) }
        }
    }

    /// Stops the task under way: its statement is cancelled, its transaction rolled back, and it fails with `cancelled`.
    public func cancel() async {
        if let current { await stop(current) }
    }

    /// Stops this task and no other, even when it comes after this call; a task is not asked for again after that.
    public func cancel(_ task: DatabaseTask) async {
        guard current?.isAttempt(task) == true else {
            stopped = task
            return
        }
        await stop(task)
    }

    private func stop(_ task: DatabaseTask) async {
        guard current?.isAttempt(task) == true, isCancelled || !wasTold else { return }
        wasTold = true
        isCancelled = true
        await connection?.cancel()
    }

    /// Ends the session. The next task opens a new one.
    public func close() async {
        await connection?.close()
        connection = nil
        process = nil
        knownSurroundings = nil
        await closeStandby()
    }

    private func outcome(of task: DatabaseTask) async -> DatabaseOutcome {
        let clock = ContinuousClock()
        for attempt in 1... {
            do {
                try await turn(task)
                // A session with the primary may not be had.
                if configuration.standby != nil {
                    if task.kind == .promoteBehindFence {
                        return .done(try await promoteBehindFence(task))
                    }
                    if task.kind == .promoteStandby {
                        return .done(try await promoteStandby(task))
                    }
                }
                try await prepareSession(for: task)
                try await bringUpToDate(task)
                try await refuseShutServer(task)
                let began = clock.now
                let believed = try await believe(task)
                try await compareBefore(task)
                var report = try await run(task)
                report.lines = believed + report.lines
                try await compareAfter(task, &report)
                report.duration = Span(began.duration(to: clock.now))
                return .done(report)
            } catch let error as PostgresError where error.isConnectionLost {
                await close()
                if isCancelled { return .failed(cancelled(effect: .unknown)) }
                switch task.kind {
                case .preflight, .raiseFence, .census, .lowerFence, .openPass, .closePass,
                    .settlePass, .openRevertPass, .closeRevertPass, .readPreview, .judgeExpand,
                    .settleExpand, .judgeRevertExpand, .judgeContract, .compareSchema,
                    .freezeStandby, .feedStandby, .promoteBehindFence, .promoteStandby,
                    .pauseManager, .resumeManager, .leaveOut:
                    // These look before they do anything, so they are simply begun again.
                    if attempt < 3 { continue }
                    return .failed(
                        DatabaseFailure(
                            code: "connection-lost", error.description, effect: .unknown))
                case .expand, .migrate, .contract, .revertMigrate, .revertExpand:
                    return await compared(task, await resolve(task, lost: error))
                }
            } catch {
                return .failed(failure(from: error))
            }
        }
        return .failed(
            DatabaseFailure(code: "connection-lost", "the session was lost", effect: .unknown))
    }

    private func run(_ task: DatabaseTask) async throws -> DatabaseReport {
        switch task.kind {
        case .preflight: try await preflight(task)
        case .expand: await warningOfReaderWrites(try await apply(.expand, task))
        case .raiseFence: try await raiseFence(task)
        case .census: try await census(task)
        case .migrate: try await guardingStandby(task) { try await migrate(task) }
        case .leaveOut: try await leaveOut(task)
        case .lowerFence: try await lowerFence(task)
        case .contract: try await contract(task)
        case .revertMigrate: try await revert(.switch, task)
        case .revertExpand: try await revert(.expand, task)
        case .compareSchema: DatabaseReport()
        case .openPass, .openRevertPass: try await openPass(task)
        case .closePass, .settlePass, .closeRevertPass: try await closePass(task)
        case .readPreview: readPreview(task)
        case .judgeExpand, .settleExpand, .judgeRevertExpand: try await judge(.expand, task)
        case .judgeContract: try await judge(.contract, task)
        case .freezeStandby: try await freezeStandby(task)
        case .feedStandby: try await feedStandby(task)
        case .promoteBehindFence: try await promoteBehindFence(task)
        case .promoteStandby: try await promoteStandby(task)
        case .pauseManager: try await pauseManager(task)
        case .resumeManager: try await resumeManager(task)
        }
    }

    /// The connection of the task under way; `prepareSession` has made it.
    func open() throws -> PostgresConnection {
        guard let connection else {
            throw PostgresError.connectionLost("the session was closed", last: nil)
        }
        return connection
    }

    func cancelled(effect: DatabaseFailure.PossibleEffect = .none) -> DatabaseFailure {
        DatabaseFailure(code: "cancelled", "the task was stopped", effect: effect)
    }

    /// Fails when the task was told to stop.
    func checkCancellation() throws {
        if isCancelled || Task.isCancelled { throw cancelled() }
    }

    func failure(from error: any Error) -> DatabaseFailure {
        switch error {
        case let failure as DatabaseFailure: return failure
        case is CancellationError: return cancelled()
        case let error as PostgresError:
            if case .connectFailed = error {
                return DatabaseFailure(
                    code: "unreachable", error.description,
                    advice:
                        "check that the server runs, that the coordinator may connect to it directly, "
                        + "and the user, password and database of its address; for another address, as after a new password, "
                        + "restart the coordinator with it"
                )
            }
            if case .addressUnreadable = error {
                return DatabaseFailure(
                    code: "database-address", error.description,
                    advice: "correct the address in the coordinator's environment")
            }
            if error.sqlState == "57014", isCancelled { return cancelled() }
            if let refusal = error.refusal { return refusal }
            // Sluice's own sessions are not read-only, and no fence is for them.
            if error.sqlState == "25006", configuration.standby != nil, !isAtStandby {
                return StandbyFindings.failedOver
            }
            if error.isLockTimeout {
                return DatabaseFailure(
                    code: "lock-timeout", "a lock was not to be had in time: \(error.description)",
                    advice: "look for long transactions in pg_stat_activity")
            }
            return DatabaseFailure(code: "sql", error.description)
        default: return DatabaseFailure(code: "fault", "\(error)", effect: .unknown)
        }
    }
}

extension PostgresError {
    /// What a function of the schema `sluice` refused.
    var refusal: DatabaseFailure? {
        guard case .server(let error) = self else { return nil }
        let code: String? =
            switch FenceSchema.Refusal(rawValue: error.sqlState) {
            case .superseded: "superseded"
            case .fenceHeld: "fence-held"
            case .fenceDown: "fence-down"
            case nil: nil
            }
        return code.map { DatabaseFailure(code: $0, error.message, advice: error.hint) }
    }

    /// Lock timeout, the deadlocks that are ended in favour of everybody else, and races in the catalog.
    ///
    /// All of them leave nothing behind and are over when the statement is sent again.
    var isLockTimeout: Bool { ["55P03", "40P01"].contains(sqlState) || isCatalogRace }

    /// Two changed one row of the catalog in the same instant, and this was the second.
    ///
    /// Memberships and settings are rows of the whole server, and nothing locks them: an administrator, or another fleet's
    /// fence in another database, may take the same one. PostgreSQL reports it as an internal error.
    private var isCatalogRace: Bool {
        guard case .server(let error) = self else { return false }
        return switch error.sqlState {
        case "XX000": ["simple_heap_update", "simple_heap_delete"].contains(error.routine)
        case "23505": error.schema == "pg_catalog"
        default: false
        }
    }
}

extension DatabaseTask {
    /// Whether both are the same attempt; whoever stops one need not know its budget or its proof.
    func isAttempt(_ other: DatabaseTask) -> Bool {
        kind == other.kind && run == other.run && epoch == other.epoch && attempt == other.attempt
    }
}

extension Span {
    init(_ duration: Duration) {
        self.init(
            milliseconds: duration.components.seconds * 1000 + duration.components.attoseconds
                / 1_000_000_000_000_000)
    }

    var duration: Duration { .milliseconds(milliseconds) }
}
