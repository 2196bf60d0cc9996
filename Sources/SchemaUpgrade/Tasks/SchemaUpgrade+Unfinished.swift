// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// The way back from files that have come only part of their way.
extension SchemaUpgrade {
    /// Undoes what this run has begun of a phase and not ended; the last first.
    func undoUnfinished(
        _ phase: MigrationPhase, _ task: DatabaseTask, until deadline: ContinuousClock.Instant
    ) async throws -> [String] {
        guard try await isInstalled() else { return [] }
        let all = try await open().perform { session in try Progress.all(of: task, session) }
        var lines: [String] = []
        for progress in all {
            let migration = configuration.migrations.migrations.first {
                $0.version == progress.version
            }
            guard let migration, migration.digest.hexadecimal == progress.digest else {
                throw DatabaseFailure(
                    code: "migration-edited",
                    "\(progress.done) statements of version \(progress.version) have taken effect, of another file than the one at hand",
                    advice: "bring the file that it was applied from")
            }
            if migration.phase != phase { continue }
            lines.append(try await undo(progress, migration, task, until: deadline))
        }
        return lines
    }

    private func undo(
        _ progress: Progress, _ migration: Migration, _ task: DatabaseTask,
        until deadline: ContinuousClock.Instant
    ) async throws -> String {
        let statements = migration.up.statements
        var done = Array(statements.prefix(progress.done))
        if progress.begun, progress.done < statements.count,
            try await settle(
                statements[progress.done], of: migration.up, progress, task, until: deadline)
        {
            done.append(statements[progress.done])
        }
        try await undo(done, migration, task, until: deadline)
        try await open().transaction { session in
            try session.execute(claim(task))
            try progress.remove(session)
        }
        return
            "undid \(migration.title), of which \(done.count) of \(statements.count) statements had taken effect"
    }

    private func undo(
        _ done: [Statement], _ migration: Migration, _ task: DatabaseTask,
        until deadline: ContinuousClock.Instant
    ) async throws {
        // What the file has set ended with its session.
        let done = done.filter { $0.setting == nil }
        // With IF NOT EXISTS it may be older than the run; then only the down file knows.
        let created = done.compactMap { statement -> (Statement, IndexDefinition)? in
            guard statement.existing == nil, case .createIndex(let definition) = statement.kind
            else { return nil }
            return (statement, definition)
        }
        let leavesNothing = done.allSatisfy {
            if case .repeatable = $0.kind { true } else { false }
        }
        if created.count == done.count {
            for (statement, definition) in created.reversed() {
                try await drop(definition, of: statement, in: migration.up, task, until: deadline)
            }
        } else if !leavesNothing {
            guard let down = migration.down else {
                throw DatabaseFailure(
                    code: "no-down-migration",
                    "\(done.count) of \(migration.up.statements.count) statements of \(migration.title) have taken effect, and it has no down file",
                    advice:
                        "undo them by hand, or go forward: mend what failed, and start a new run")
            }
            for statement in down.statements {
                try await runLeniently(statement, .undo(migration, down), task, until: deadline)
            }
        }
    }

    /// One statement of a way back, of which a part may have nothing to undo.
    private func runLeniently(
        _ statement: Statement, _ step: Step, _ task: DatabaseTask,
        until deadline: ContinuousClock.Instant
    ) async throws {
        let environment = try await environment(task, before: statement, of: step)
        let surroundings = environment.surroundings
        let patience = Span(ContinuousClock.now.duration(to: deadline))
        var backoff = Backoff(after: configuration.lockTimeout, most: .seconds(5))
        while true {
            try checkCancellation()
            do {
                if statement.kind.isTransactional {
                    try await open().transaction { session in
                        try session.execute(claim(task) + keepOut(task))
                        try session.execute(surroundings.entrance(isLocal: true))
                        try environment.run(statement, session)
                        try environment.leave(session, step)
                    }
                } else {
                    let lone = LoneStatement(
                        statement: statement, surroundings: surroundings, refusesAnother: false)
                    try await open().execute(claim(task) + keepOut(task))
                    _ = try await open().perform { session in
                        try lone.run(session, isRepeated: true, invalid: "{}", patience: patience)
                    }
                }
                return try await resetSession(task)
            } catch let failure as StatementFailure {
                if failure.error.isConnectionLost { throw failure.error }
                try await resetSession(task)
                if failure.isNotThere { return }
                guard failure.error.isLockTimeout, ContinuousClock.now < deadline else {
                    throw failure.databaseFailure
                }
            }
            try await rest(&backoff, until: deadline)
        }
    }

    /// Brings the statement that nobody knows the outcome of to one of two ends.
    ///
    /// - Returns: whether it has taken effect, so that it is undone with those before.
    private func settle(
        _ statement: Statement, of script: Script, _ progress: Progress, _ task: DatabaseTask,
        until deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        let lone = LoneStatement(
            statement: statement,
            surroundings: try await surroundings().before(statement, of: script))
        let entrance =
            lone.surroundings.entrance(isLocal: false, waitsQuietly: true)
            + "; SET statement_timeout = '\(max(1000, Span(ContinuousClock.now.duration(to: deadline)).milliseconds))ms'"
        try await open().execute(claim(task) + keepOut(task))
        let invalid = progress.invalid
        let hasEffect = try await open().perform { session in
            try session.execute(entrance)
            switch statement.kind {
            case .transactional, .unknown: return false
            // What it has committed is its own.
            case .block: return true
            case .repeatable:
                try lone.dropLeftovers(session, invalid)
                return false
            case .createIndex(let definition):
                switch try lone.state(of: definition, session) {
                case .none, .another: break
                case .valid where statement.existing != nil: return true
                case .valid(let name), .invalid(let name):
                    try session.execute("DROP INDEX CONCURRENTLY \(name)")
                }
                return false
            case .dropIndex(let index): return try lone.revive(index, session)
            case .detachPartition(let table, let partition):
                guard let isPending = try lone.pendingDetach(table, partition, session) else {
                    return true
                }
                if isPending { try session.execute(LoneStatement.finalize(table, partition)) }
                return isPending
            }
        }
        try await resetSession(task)
        return hasEffect
    }

    private func drop(
        _ definition: IndexDefinition, of statement: Statement, in script: Script,
        _ task: DatabaseTask, until deadline: ContinuousClock.Instant
    ) async throws {
        let surroundings = try await surroundings().before(statement, of: script)
        try await open().execute(claim(task) + keepOut(task))
        try await open().perform { session in
            try session.execute(
                surroundings.entrance(isLocal: false, waitsQuietly: true)
                    + "; SET statement_timeout = '\(max(1000, Span(ContinuousClock.now.duration(to: deadline)).milliseconds))ms'"
            )
            let name = try session.query(
                """
                SELECT pg_catalog.format('%I.%I', n.nspname, i.relname)
                FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
                    JOIN pg_catalog.pg_class AS i ON i.relnamespace = t.relnamespace AND i.relname = $2
                WHERE t.oid = pg_catalog.to_regclass($1)
                """, [definition.table.quoted, definition.index.name]
            ).first?.text(0)
            if let name { try session.execute("DROP INDEX CONCURRENTLY \(name)") }
        }
        try await resetSession(task)
    }
}

extension LoneStatement {
    /// Builds an index again that was on its way to be dropped.
    ///
    /// - Returns: whether it is gone.
    fileprivate func revive(_ index: QualifiedName, _ session: borrowing Session) throws -> Bool {
        let row = try session.query(
            "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1)",
            [index.quoted]
        ).first
        guard let row else { return true }
        if !row.isTrue(0) { try session.execute("REINDEX INDEX CONCURRENTLY \(index.quoted)") }
        return false
    }
}
