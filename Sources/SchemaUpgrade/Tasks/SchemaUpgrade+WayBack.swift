// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// The migrations of the window are tried before it: up, down, and up again, in one transaction that is rolled back.
///
/// It takes the locks that the migrations take, so it gives up after a moment: readers and writers meanwhile wait no longer
/// than for any other online statement. What such a trial cannot take back (numbers drawn from sequences) is drawn.
extension SchemaUpgrade {
    /// A down file that leaves something behind is a warning: it may be meant so.
    ///
    /// - Throws: `way-back` when a down file fails; and what a statement of an up file fails with already.
    func tryWayBack(_ task: DatabaseTask, _ report: inout DatabaseReport) async throws {
        let pending = try await ledger().pending(.switch, configuration.migrations)
        let reversible = pending.reversed().prefix { $0.down != nil }
        // Behind a fence that is up already, it is too late to try.
        if pending.isEmpty || pending.contains(where: \.header.refusesTrial) { return }
        if try await fenceState() != nil { return }
        let budget = configuration.trialBudget
        let rehearsal = Rehearsal(
            environment: try await environment(task),
            ups: pending.map { .apply($0, $0.up) },
            downs: reversible.compactMap { migration in
                migration.down.map { .undo(migration, $0) }
            },
            again: reversible.reversed().map { .apply($0, $0.up) })
        let outcome: Rehearsal.Outcome
        do {
            outcome = try await open().perform { session in
                try rehearsal.outcome(session, within: budget)
            }
        } catch let error as PostgresError where error.isConnectionLost {
            throw error
        } catch {
            try await resetSession(task)
            throw error
        }
        try await resetSession(task)
        switch outcome {
        case .worked(let milliseconds):
            report.lines.append(
                "tried the migrations of the window and their way back, and took all of it back (\(milliseconds) ms)"
            )
        case .incomplete(let reason):
            report.warnings.append(
                Diagnostic(
                    .warning, code: "way-back-incomplete",
                    "the down files do not undo all that the up files do: after them the up files fail: \(reason)",
                    advice:
                        "let the down files undo everything, or expect a schema that is not the old one after a run that turns back"
                ))
        case .tooLong(let reason):
            report.warnings.append(
                Diagnostic(
                    .warning, code: "way-back-not-tried",
                    "the migrations of the window and their way back could not be tried within \(budget): \(reason)",
                    advice: "try them on a copy of the database"))
        }
    }
}

/// What is tried, and how it went.
private struct Rehearsal: Sendable {
    var environment: MigrationEnvironment
    var ups: [Step]
    var downs: [Step]
    var again: [Step]

    enum Outcome {
        case worked(milliseconds: Int64)
        /// The down files went through, and the up files fail after them.
        case incomplete(String)
        case tooLong(String)
    }

    private struct RolledBack: Error {}
    private struct Incomplete: Error { var reason: String }

    func outcome(_ session: borrowing Session, within budget: Span) throws -> Outcome {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: budget.duration)
        let began = clock.now
        do {
            try session.transaction { session in
                try session.execute(
                    "SET LOCAL lock_timeout = '\(environment.lockTimeout.milliseconds)ms';"
                        + claim(environment.task) + keepOut(environment.task))
                let newObjects = try NewObjects(session)
                for step in ups { try run(step, session, until: end) }
                let privates = ups.reduce(into: Set<String>()) {
                    $0.formUnion($1.migration.header.privateRelations)
                }
                try newObjects.check(session, except: privates)
                do {
                    for step in downs { try run(step, session, until: end) }
                } catch let failure as StatementFailure where !isOver(failure.error) {
                    throw wayBack(failure)
                }
                do {
                    for step in again { try run(step, session, until: end) }
                } catch let failure as StatementFailure where !isOver(failure.error) {
                    throw Incomplete(reason: failure.databaseFailure.message)
                }
                throw RolledBack()
            }
        } catch is RolledBack {
            return .worked(milliseconds: Span(began.duration(to: clock.now)).milliseconds)
        } catch let incomplete as Incomplete {
            return .incomplete(incomplete.reason)
        } catch let failure as StatementFailure {
            if failure.error.isConnectionLost { throw failure.error }
            guard isOver(failure.error) else { throw failure.databaseFailure }
            return .tooLong(failure.databaseFailure.message)
        } catch is TooLong {
            return .tooLong("the time was over")
        }
        return .tooLong("nothing was tried")
    }

    private struct TooLong: Error {}

    private func run(
        _ step: Step, _ session: borrowing Session, until end: ContinuousClock.Instant
    ) throws {
        try session.execute(environment.surroundings.entrance(isLocal: true))
        for statement in step.script.statements {
            let left = Span(ContinuousClock.now.duration(to: end)).milliseconds
            guard left > 0 else { throw TooLong() }
            try environment.refuseAnother(statement, of: step, session)
            try environment.run(statement, session, within: .milliseconds(left))
        }
        try environment.leave(session, step)
        _ = try environment.record(step, 0, session)
    }

    /// Whether it is the time that was over, or the session, and no word about the statement.
    private func isOver(_ error: PostgresError) -> Bool {
        error.isConnectionLost || error.isLockTimeout || error.sqlState == "57014"
    }

    private func wayBack(_ failure: StatementFailure) -> DatabaseFailure {
        let reason = failure.databaseFailure
        return DatabaseFailure(
            code: "way-back",
            "the way back does not work, tried before the window and taken back: \(reason.message)",
            advice: "mend the down file; nothing of the window has begun",
            findings: reason.findings)
    }
}
