// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Nothing of the old release writes after the lift: what the database can say of it.
///
/// A transaction that was under way when the schema changed began on the old one, so it has ended before writes open. A session
/// that is older than the window may belong to the old release, to a pooler, or to a new release that was warmed before; the
/// database cannot tell, so the plan says what becomes of it, and the report names it.
extension SchemaUpgrade {
    /// Remembers, once the schema has changed, who is in the middle of something.
    func rememberTransactions(_ task: DatabaseTask) async throws {
        _ = try await open().execute(
            claim(task) + expectFence(task, "up")
                + "UPDATE sluice.fence SET older = (\(FenceStatements.transactionsUnderWay))")
    }

    /// Waits a moment for transactions that began on the old schema and may write; then the straggler policy applies.
    ///
    /// - Returns: those that were ended.
    func endTransactionsOfTheOldSchema(_ task: DatabaseTask) async throws -> [String] {
        let deadline = deadline(min(.seconds(1), task.budget ?? configuration.drainTimeout))
        var readers: Set<String>?
        var ended: [String] = []
        while true {
            try checkCancellation()
            let left = try await olderWriters(&readers)
            if left.isEmpty { return ended }
            if ContinuousClock.now >= deadline {
                try await endStragglers(task, left, until: deadline.advanced(by: .seconds(10)))
                ended += left.map { "ended, because it began on the old schema: \($0.description)" }
            } else {
                try await Task.sleep(for: .milliseconds(2))
            }
        }
    }

    /// Statements of the window that go on by themselves, whether or not whoever has sent them still runs: a function, a batch.
    ///
    /// The old release is frozen by now and sends nothing more, but the server has what it has sent. So such a statement may write
    /// nothing to its end, as if the fence were up; the next one of the same session is free.
    ///
    /// - Parameter fence: a census must have been taken: before it, statements are older than the fence, and are not refused
    ///   afterwards when the run turns back.
    func statementsOfTheWindow(_ fence: FenceState) async throws -> [Straggler] {
        guard fence.state == "up", fence.census != nil else { return [] }
        let found = try await stragglers(
            "a.backend_type = 'client backend' AND \(SchemaUpgrade.isUnderWay) AND a.usename <> session_user"
        )
        return try await writing(found)
    }

    /// Those of them that have not ended.
    func statementsOfTheWindowLeft() async throws -> [Straggler] {
        try await stragglers(
            """
            EXISTS (SELECT FROM sluice.fence AS f, jsonb_to_recordset(f.older) AS o (statement text)
                WHERE o.statement = \(FenceStatements.statement("a.pid", "a.query_start"))) AND \(SchemaUpgrade.isUnderWay)
            """)
    }

    private static let isUnderWay = "a.state IN ('active', 'fastpath function call')"

    /// Sessions that began before this run's fence went up, apart from superusers' and the migrator's own.
    func oldSessions() async throws -> [Straggler] {
        try await stragglers(
            """
            a.backend_type = 'client backend' AND a.backend_start < (SELECT raised_at FROM sluice.fence)
                AND a.usename <> session_user AND a.usesysid NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)
            """)
    }

    /// Ends those of them that may write, where the plan says so.
    func endOldSessions(_ sessions: [Straggler]) async throws {
        guard configuration.endsOldSessions else { return }
        let old = try await writing(sessions)
        if !old.isEmpty { try await end(old, until: deadline(.seconds(10))) }
    }

    /// What became of those of them that may write, for people; asked once writes are open.
    func names(ofOld sessions: [Straggler]) async throws -> [String] {
        let names = SchemaUpgrade.grouped(try await writing(sessions))
        if names.isEmpty { return ["no session that could write was older than the window"] }
        let words =
            configuration.endsOldSessions
            ? "ended, because older than the window"
            : "older than the window, so perhaps the old release's"
        return names.map { "\(words): \($0)" }
    }

    private func writing(_ sessions: [Straggler]) async throws -> [Straggler] {
        if sessions.isEmpty { return [] }
        let readers = try await rolesThatOnlyRead()
        return sessions.filter { !readers.contains($0.role) }
    }

    static func grouped(_ sessions: [Straggler]) -> [String] {
        var counts: [String: Int] = [:]
        for session in sessions { counts[session.holder, default: 0] += 1 }
        let names = counts.sorted { $0.key < $1.key }.map { holder, count in
            "\(count) \(count == 1 ? "session" : "sessions") of \(holder)"
        }
        return names.count <= 20 ? names : names.prefix(20) + ["\(names.count - 20) more"]
    }
}
