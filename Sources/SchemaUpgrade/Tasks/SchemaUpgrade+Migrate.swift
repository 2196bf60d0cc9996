// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// Applying migrations: all of `switch` in one transaction, each of `expand` and `contract` in its own.
extension SchemaUpgrade {
    func ledger() async throws -> Ledger {
        guard try await isInstalled() else { return Ledger() }
        return try await Ledger(open().query(Ledger.query))
    }

    /// The ledger, after it was held against the files.
    func checkedLedger() async throws -> Ledger {
        let ledger = try await ledger()
        let findings = ledger.findings(configuration.migrations)
        if let first = findings.first {
            throw DatabaseFailure(
                code: first.code, findings.map(\.description).joined(separator: "\n"),
                advice: first.advice,
                findings: findings)
        }
        return ledger
    }

    /// Applies the `switch` migrations in one transaction, behind the fence.
    func migrate(_ task: DatabaseTask) async throws -> DatabaseReport {
        let before = try await checkedLedger()
        let pending = before.pending(.switch, configuration.migrations)
        let known = before.entries(of: .switch, in: task.run)
        var report = DatabaseReport(
            lines: known.map { "\($0.title) had been applied" }, versions: known.map(\.version))
        if pending.isEmpty {
            if known.isEmpty {
                report.lines.append("nothing to migrate")
            } else {
                try await rememberTransactions(task)
            }
            return report
        }
        try await refuseTablesWithoutTrigger()
        let steps = pending.map { Step.apply($0, $0.up) }
        report.lines += try await inOneTransaction(
            steps, task, until: deadline(patience(.switch)), needsCensus: true)
        try await rememberTransactions(task)
        report.versions += pending.map(\.version)
        return report
    }

    /// Applies the migrations of an online phase, each as soon as the one before has taken effect.
    func apply(_ phase: MigrationPhase, _ task: DatabaseTask) async throws -> DatabaseReport {
        try await install(task)
        var takenOver: [String] = []
        if phase == .expand {
            takenOver = try await takeOver(task)
            try await installStandbySchema(task)
            await warmUp(task)
        }
        let uncounted = phase == .expand ? try await makeRefusalCounters(task) : []
        let before = try await checkedLedger()
        let known = before.entries(of: phase, in: task.run)
        var report = DatabaseReport(
            lines: takenOver + known.map { "\($0.title) had been applied" },
            versions: known.map(\.version))
        let deadline = deadline(patience(phase))
        for migration in before.pending(phase, configuration.migrations) {
            let step = Step.apply(migration, migration.up)
            report.lines +=
                migration.up.isTransactional
                ? try await inOneTransaction([step], task, until: deadline)
                : try await oneByOne(step, task, until: deadline)
            report.versions.append(migration.version)
        }
        if report.versions.isEmpty {
            report.lines.append("nothing to do in phase \(phase.rawValue)")
        }
        report.lines += uncounted
        if phase == .expand { try await tryWayBack(task, &report) }
        if let tool = configuration.tool, tool.phases.contains(phase) {
            report.ledger = try await keepBefore(phase, tool, task)
        }
        return report
    }

    func contract(_ task: DatabaseTask) async throws -> DatabaseReport {
        let seen = await firstLateSessions(task)
        let left = try await tidyFence(task)
        var report = try await apply(.contract, task)
        report.lines += left
        await nameLateSessions(task, since: seen, &report)
        return report
    }

    /// Undoes what this run has applied of a phase, the last first.
    func revert(_ phase: MigrationPhase, _ task: DatabaseTask) async throws -> DatabaseReport {
        if phase == .expand { try await tidyPromotion(task) }
        let left = phase == .expand ? try await tidyFence(task) : []
        let deadline = deadline(patience(phase))
        var lines = try await undoUnfinished(phase, task, until: deadline)
        let entries = try await ledger().entries(of: phase, in: task.run).reversed()
        guard !entries.isEmpty || !lines.isEmpty else {
            return DatabaseReport(lines: ["nothing to undo in phase \(phase.rawValue)"] + left)
        }
        lines += left
        var steps: [Step] = []
        for entry in entries {
            let migration = configuration.migrations.migrations.first { $0.number == entry.number }
            guard let migration, migration.digest.hexadecimal == entry.digest else {
                throw DatabaseFailure(
                    code: "migration-edited",
                    "\(entry.title) was applied from another file than the one at hand",
                    advice: "bring the file that it was applied from")
            }
            guard let down = migration.down else {
                throw DatabaseFailure(
                    code: "no-down-migration",
                    "\(entry.title) has no down file and cannot be undone",
                    advice: "go forward, or restore a backup")
            }
            steps.append(.undo(migration, down))
        }
        if phase == .switch, !steps.isEmpty {
            return DatabaseReport(
                lines: lines + (try await inOneTransaction(steps, task, until: deadline)))
        }
        for step in steps {
            lines +=
                step.script.isTransactional
                ? try await inOneTransaction([step], task, until: deadline)
                : try await oneByOne(step, task, until: deadline)
        }
        return DatabaseReport(lines: lines)
    }

    /// Runs the steps and writes the ledger in one transaction, again and again while a lock is not to be had.
    private func inOneTransaction(
        _ steps: [Step], _ task: DatabaseTask, until deadline: ContinuousClock.Instant,
        needsCensus: Bool = false
    ) async throws -> [String] {
        let environment = try await environment(task)
        // In the window nobody writes, and every pause makes it longer.
        let isOnline = steps.contains { $0.migration.phase != .switch }
        var backoff = Backoff(
            after: configuration.lockTimeout, most: isOnline ? .seconds(5) : .milliseconds(400))
        let readersMayStay = self.deadline(configuration.drainTimeout)
        var ended: [String] = []
        var hasWaited = false
        waitedFor = []
        waitsFor = []
        defer { waitsFor = [] }
        while true {
            try checkCancellation()
            do {
                let lines = try await namingBlockers(isWaitLikely: hasWaited) {
                    try await open().transaction { session in
                        try environment.run(steps, session, needsCensus: needsCensus)
                    }
                }
                try await resetSession(task)
                return ended + lines + waitedFor.map { "had to wait for \($0)" }
            } catch let failure as StatementFailure where failure.error.isLockTimeout {
                hasWaited = true
                try await resetSession(task)
                if !isOnline, ContinuousClock.now >= readersMayStay {
                    ended += try await endReadersInTheWay(task)
                }
                if ContinuousClock.now >= deadline {
                    var reason = failure.databaseFailure
                    reason.message += try await explanationOfWait()
                    throw reason
                }
            } catch let failure as StatementFailure {
                if failure.error.isConnectionLost { throw failure.error }
                try await resetSession(task)
                if failure.error.sqlState == "57014", isCancelled { throw cancelled() }
                throw failure.databaseFailure
            } catch let error as PostgresError where error.isLockTimeout {
                if ContinuousClock.now >= deadline { throw error }
            }
            try await rest(&backoff, until: deadline)
        }
    }

    func environment(_ task: DatabaseTask) async throws -> MigrationEnvironment {
        MigrationEnvironment(
            task: task, surroundings: try await surroundings(),
            lockTimeout: configuration.lockTimeout)
    }

    /// How long migrations of a phase are tried.
    /// In a file whose statements run one by one.
    func environment(_ task: DatabaseTask, before statement: Statement, of step: Step) async throws
        -> MigrationEnvironment
    {
        var environment = try await environment(task)
        environment.surroundings = environment.surroundings.before(statement, of: step.script)
        return environment
    }

    func patience(_ phase: MigrationPhase) -> Span {
        configuration.patience[phase] ?? configuration.lockPatience
    }

    /// A migration may have changed any setting of the session, and let go of its locks, which no rollback takes back.
    ///
    /// What has taken effect must not fail here, so a session that cannot be put in order is closed.
    ///
    /// - Throws: only when the session was lost.
    func resetSession(_ task: DatabaseTask) async throws {
        do {
            let locks = try await open().execute(
                Surroundings.exit + SchemaUpgrade.rename(task) + "; " + SchemaUpgrade.settings
                    + SchemaUpgrade.ownLocksAlone(task) + SchemaUpgrade.ownSessionLocks)
            if locks.count < 2 { try await takeSessionLocks(task) }
        } catch let error as PostgresError where error.isConnectionLost {
            throw error
        } catch {
            await close()
        }
    }

    /// Who was in the way, as far as it was seen; else who might have been.
    private func explanationOfWait() async throws -> String {
        if !waitedFor.isEmpty { return "; it waited for: " + waitedFor.joined(separator: "; ") }
        let others = try await longTransactions()
        return others.isEmpty ? "" : "; under way: " + others.joined(separator: "; ")
    }

    func longTransactions() async throws -> [String] {
        try await open().query(
            """
            SELECT \(FenceStatements.description) FROM pg_stat_activity AS a
            WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
            ORDER BY a.xact_start LIMIT 5
            """
        ).map { $0.text(0) }
    }

    /// Finds out what took effect after the session was lost; the old one is gone by then, whatever it was doing.
    func resolve(_ task: DatabaseTask, lost error: PostgresError) async -> DatabaseOutcome {
        let deadline = deadline(configuration.reconnectTimeout)
        while true {
            do {
                // Fails when there is a next leader: the ledger may tell of its work, which is not this task's to report.
                try await prepareSession(for: task)
                // Its ledger says nothing of what the one that is the primary now has.
                if try await open().query("SELECT pg_is_in_recovery()")[0].isTrue(0) {
                    return .failed(StandbyFindings.failedOver)
                }
                return judge(task, try await ledger(), lost: error)
            } catch var failure as DatabaseFailure {
                if failure.code != "superseded" { failure.effect = .unknown }
                return .failed(failure)
            } catch {
                guard ContinuousClock.now < deadline, !isCancelled else {
                    return .failed(
                        DatabaseFailure(
                            code: "unreachable",
                            "the connection was lost, and the server cannot be reached to look",
                            advice: "the ledger sluice.migration says what took effect",
                            effect: .unknown))
                }
            }
            await close()
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    private func judge(_ task: DatabaseTask, _ ledger: Ledger, lost error: PostgresError)
        -> DatabaseOutcome
    {
        let phase: MigrationPhase =
            switch task.kind {
            case .expand, .revertExpand: .expand
            case .contract: .contract
            default: .switch
            }
        let entries = ledger.entries(of: phase, in: task.run)
        let isRevert = [.revertMigrate, .revertExpand].contains(task.kind)
        let isDone =
            isRevert ? entries.isEmpty : ledger.pending(phase, configuration.migrations).isEmpty
        if isDone {
            let titles = entries.map(\.title).joined(separator: ", ")
            return .done(
                DatabaseReport(
                    lines: [
                        "the connection was lost; the ledger says that it took effect: \(titles)"
                    ],
                    versions: isRevert ? [] : entries.map(\.version)))
        }
        // Of the online phases a part may have taken effect; those of the window are one transaction.
        let isWhole = phase == .switch
        return .failed(
            DatabaseFailure(
                code: "connection-lost", error.description,
                advice: "the ledger says that it did not take effect"
                    + (isWhole ? "" : " as a whole"),
                effect: isWhole || (entries.isEmpty && !isRevert) ? .none : .unknown))
    }
}
