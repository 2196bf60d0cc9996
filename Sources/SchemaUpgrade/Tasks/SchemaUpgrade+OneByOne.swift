// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// Files that run statement by statement: each in a transaction of its own where it can be, the others alone. How far a file
/// has come is in `sluice.progress`, so it goes on where it stopped, in this process or in the next.
extension SchemaUpgrade {
    func oneByOne(
        _ step: Step, _ task: DatabaseTask, until deadline: ContinuousClock.Instant
    ) async throws -> [String] {
        let clock = ContinuousClock()
        let began = clock.now
        var progress = try await progress(of: step, task)
        let first = progress.done
        var heard = Heard(step)
        batches = []
        defer { batch = nil }
        while progress.done < step.script.statements.count {
            try checkCancellation()
            let statement = step.script.statements[progress.done]
            let notices = try await runNext(step, &progress, task, until: deadline)
            heard.add(notices, to: statement)
        }
        try await resetSession(task)
        let environment = try await environment(task)
        let milliseconds = Span(began.duration(to: clock.now)).milliseconds
        let finished = progress
        let line = try await open().transaction { session in
            try session.execute(claim(task) + keepOut(task))
            try finished.remove(session)
            return try environment.record(step, milliseconds, session)
        }
        return [first == 0 ? line : "\(line); \(first) of its statements had taken effect before"]
            + batches + heard.lines
    }

    private func progress(of step: Step, _ task: DatabaseTask) async throws -> Progress {
        let found = try await open().perform { session in try Progress.find(step, session) }
        guard let found, found.done > 0 || found.begun else { return Progress(of: step, task) }
        guard found.digest == step.migration.digest.hexadecimal else {
            throw DatabaseFailure(
                code: "migration-edited",
                "\(found.done) statements of \(step.migration.title) have taken effect, and the file was edited since",
                advice: "put the file back as it was, and write a new migration")
        }
        return found
    }

    /// Runs the next statement until it has taken effect, and notes that.
    ///
    /// - Returns: what the server said beside its answer.
    private func runNext(
        _ step: Step, _ progress: inout Progress, _ task: DatabaseTask,
        until deadline: ContinuousClock.Instant
    ) async throws -> ServerNotices {
        let statement = step.script.statements[progress.done]
        var backoff = Backoff(after: configuration.lockTimeout, most: .seconds(5))
        while true {
            do {
                switch statement.kind {
                case .transactional where statement.changesRows && step.script.batches != nil:
                    return try await runInBatches(statement, step, &progress, task, until: deadline)
                case .transactional, .unknown:
                    return try await runInTransaction(statement, step, &progress, task)
                case .block, .createIndex, .dropIndex, .detachPartition, .repeatable:
                    return try await runAlone(statement, step, &progress, task, until: deadline)
                }
            } catch let failure as StatementFailure {
                if failure.error.isConnectionLost { throw failure.error }
                try await resetSession(task)
                if failure.error.sqlState == "57014", isCancelled {
                    throw cancelled(effect: .unknown)
                }
                guard failure.error.isLockTimeout, ContinuousClock.now < deadline else {
                    throw try await explained(failure, step, progress)
                }
            } catch let error as PostgresError where error.isLockTimeout {
                if ContinuousClock.now >= deadline { throw error }
            }
            try await rest(&backoff, until: deadline)
        }
    }

    /// Says how far the file has come, and who was in the way.
    private func explained(_ failure: StatementFailure, _ step: Step, _ progress: Progress)
        async throws -> DatabaseFailure
    {
        var reason = failure.databaseFailure
        let count = step.script.statements.count
        if count > 1 {
            reason.message +=
                "; \(progress.done) of \(count) statements of the file have taken effect, and a retry goes on after them"
        }
        if reason.code != "sql" {
            let blockers = try await longTransactions()
            if !blockers.isEmpty {
                reason.message += "; under way: " + blockers.joined(separator: "; ")
            }
        }
        if progress.done > 0 { reason.effect = .unknown }
        return reason
    }

    /// In a transaction with the note of it: exactly once.
    private func runInTransaction(
        _ statement: Statement, _ step: Step, _ progress: inout Progress, _ task: DatabaseTask
    ) async throws -> ServerNotices {
        let environment = try await environment(task, before: statement, of: step)
        var next = progress
        next.done += 1
        let stored = next
        let lockTimeout = configuration.lockTimeout
        let notices = try await open().transaction { session in
            try session.execute(
                "SET LOCAL lock_timeout = '\(lockTimeout.milliseconds)ms';" + claim(task)
                    + keepOut(task))
            let newObjects = try NewObjects(session)
            try session.execute(environment.surroundings.entrance(isLocal: true))
            try environment.refuseAnother(statement, of: step, session)
            let notices = try environment.run(statement, session)
            try environment.leave(session, step)
            if !step.isUndo {
                try newObjects.check(
                    session, except: step.migration.header.privateRelations, isWhole: false)
            }
            try stored.store(task, session)
            return notices
        }
        progress = next
        return notices
    }

    private func runAlone(
        _ statement: Statement, _ step: Step, _ progress: inout Progress, _ task: DatabaseTask,
        until deadline: ContinuousClock.Instant
    ) async throws -> ServerNotices {
        let lone = LoneStatement(
            statement: statement,
            surroundings: try await surroundings().before(statement, of: step.script),
            refusesAnother: !step.isUndo)
        let isRepeated = progress.begun
        var next = progress
        if !isRepeated {
            next.invalid = try await open().query(LoneStatement.invalidIndexes)[0].text(0)
            next.begun = true
        }
        // The statement before may have taken long, and another run have raised its fence meanwhile.
        progress = try await store(next, task, keepsOut: true)
        let invalid = progress.invalid
        let patience = Span(ContinuousClock.now.duration(to: deadline))
        var notices = ServerNotices()
        do {
            notices = try await open().perform { session in
                try lone.run(session, isRepeated: isRepeated, invalid: invalid, patience: patience)
            }
        } catch let failure as StatementFailure {
            if failure.error.isConnectionLost { throw failure.error }
            if step.isUndo, failure.isNotThere, case .dropIndex = statement.kind {
                // Somebody has dropped it: the way back is where it wanted to be.
            } else {
                try await clearUp(lone, &progress, task, after: failure)
                throw failure
            }
        }
        try await resetSession(task)
        next = progress
        next.done += 1
        next.begun = false
        progress = try await store(next, task, keepsOut: false)
        return notices
    }

    private func store(_ progress: Progress, _ task: DatabaseTask, keepsOut: Bool) async throws
        -> Progress
    {
        try await open().transaction { session in
            try session.execute(claim(task) + (keepsOut ? keepOut(task) : ""))
            try progress.store(task, session)
        }
        return progress
    }

    /// An attempt has failed and said so: what it has left is dropped. What cannot be dropped now is remembered, for the retry
    /// and for the way back.
    private func clearUp(
        _ lone: LoneStatement, _ progress: inout Progress, _ task: DatabaseTask,
        after failure: StatementFailure
    ) async throws {
        switch lone.statement.kind {
        case .dropIndex, .detachPartition: return
        case .transactional, .block, .unknown, .createIndex, .repeatable: break
        }
        try await resetSession(task)
        let invalid = progress.invalid
        do {
            try await open().perform { session in
                try session.execute(
                    lone.surroundings.beforeTheFile.entrance(isLocal: false, waitsQuietly: true)
                        + "; SET statement_timeout = '10s'")
                try lone.dropLeftovers(session, invalid)
            }
        } catch let error as PostgresError {
            if error.isConnectionLost { throw error }
            try await resetSession(task)
            guard case .server(var server) = failure.error else { return }
            server.message += "; what it has left could not be dropped yet (\(error))"
            throw StatementFailure(position: failure.position, error: .server(server))
        }
        try await resetSession(task)
        var next = progress
        next.begun = false
        progress = try await store(next, task, keepsOut: false)
    }
}

extension StatementFailure {
    /// What should go is not there.
    var isNotThere: Bool { ["42P01", "42703", "42704", "42883"].contains(error.sqlState) }
}
