// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// Rows that are changed in batches while the application writes (`repeat=100ms lag=64MB` in a file's header): a statement is run
/// again, each time in a transaction of its own, until it changes nothing. What a batch has changed stays, whatever ends the task, and
/// the next attempt goes on with the rows that are left.
extension SchemaUpgrade {
    struct Batch: Sendable {
        var statement: Statement
        var rows = 0
        var count = 0
        /// Who streams the log and is too far behind.
        var waitsFor: String?

        var text: String {
            "\(statement.position.file):\(statement.position.line): \(rows) rows in \(count) batch\(count == 1 ? "" : "es")"
        }
    }

    /// How far the batches in hand have come, for somebody who watches; `nil` where there are none.
    public func progress() -> String? {
        starting ?? batch.map { $0.text + ($0.waitsFor.map { ", waits for \($0)" } ?? "") }
    }

    /// Runs the statement until it changes nothing, and notes that with the last batch.
    ///
    /// - Returns: what the server said beside its first answer.
    func runInBatches(
        _ statement: Statement, _ step: Step, _ progress: inout Progress, _ task: DatabaseTask,
        until deadline: ContinuousClock.Instant
    ) async throws -> ServerNotices {
        var heard: ServerNotices?
        guard let batches = step.script.batches else { return ServerNotices() }
        // One that was tried again goes on counting.
        if batch?.statement != statement { batch = Batch(statement: statement) }
        var next = progress
        next.done += 1
        while true {
            try await waitForStreams(batches, until: deadline)
            let (rows, notices) = try await oneBatch(statement, step, next, task)
            heard = heard ?? notices
            guard rows > 0 else { break }
            batch?.rows += rows
            batch?.count += 1
            try await pause(batches.pause, until: deadline)
            guard ContinuousClock.now < deadline else { throw tooManyRows() }
        }
        progress = next
        self.batches += [batch?.text ?? ""]
        batch = nil
        return heard ?? ServerNotices()
    }

    /// - Returns: how many rows it changed.
    private func oneBatch(
        _ statement: Statement, _ step: Step, _ next: Progress, _ task: DatabaseTask
    ) async throws -> (rows: Int, notices: ServerNotices) {
        let environment = try await environment(task, before: statement, of: step)
        let lockTimeout = configuration.lockTimeout
        return try await open().transaction { session in
            try session.execute(
                "SET LOCAL lock_timeout = '\(lockTimeout.milliseconds)ms';" + claim(task)
                    + keepOut(task))
            try session.execute(environment.surroundings.entrance(isLocal: true))
            var notices = ServerNotices()
            let rows: Int
            do throws(PostgresError) {
                rows = try session.execute(statement.text, hearing: &notices).affected
            } catch {
                throw StatementFailure(position: statement.position(of: error), error: error)
            }
            try environment.leave(session, step)
            if rows == 0 { try next.store(task, session) }
            return (rows, notices)
        }
    }

    private func tooManyRows() -> DatabaseFailure {
        DatabaseFailure(
            code: "batches",
            "\(batch?.text ?? ""), and more are left when the phase's time is over",
            advice:
                "give the phase more time (deadlines.stage, or finish): what is changed stays, and the next attempt goes on",
            effect: .unknown)
    }

    /// Waits until nobody who streams the log is further behind than the header allows.
    private func waitForStreams(
        _ batches: MigrationHeader.Batches, until deadline: ContinuousClock.Instant
    ) async throws {
        defer { batch?.waitsFor = nil }
        while true {
            try checkCancellation()
            guard let lag = batches.lag else { return }
            let behind = try await open().query(SchemaUpgrade.furthestBehind, ["\(lag)"])
            guard let behind = behind.first?.text(0) else { return }
            batch?.waitsFor = behind
            guard ContinuousClock.now < deadline else {
                var failure = tooManyRows()
                failure.message += "; the last one waited for \(behind)"
                failure.advice =
                    "let it catch up, or end it if nobody needs it, and try again: what is changed stays"
                throw failure
            }
            try await pause(.milliseconds(500), until: deadline)
        }
    }

    private func pause(_ span: Span, until deadline: ContinuousClock.Instant) async throws {
        let end = min(deadline, ContinuousClock.now.advanced(by: span.duration))
        while ContinuousClock.now < end {
            try checkCancellation()
            try await Task.sleep(for: min(.milliseconds(20), ContinuousClock.now.duration(to: end)))
        }
        try checkCancellation()
    }

    /// A base backup streams no log that anybody waits for.
    private static let furthestBehind = """
        SELECT pg_catalog.format('%s (process %s), which is %s behind', application_name, pid,
            pg_catalog.pg_size_pretty(behind))
        FROM (
            SELECT application_name, pid, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),
                coalesce(replay_lsn, flush_lsn, write_lsn, sent_lsn)) AS behind
            FROM pg_catalog.pg_stat_replication WHERE state IN ('streaming', 'catchup')) AS s
        WHERE behind > $1::pg_catalog.int8 ORDER BY behind DESC LIMIT 1
        """
}
