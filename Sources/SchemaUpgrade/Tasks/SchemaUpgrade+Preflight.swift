// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

extension SchemaUpgrade {
    /// Looks for everything that would make a later task fail, and for what the fence cannot cover. Changes nothing.
    ///
    /// Fails with all findings at once, each with the statement that mends it.
    func preflight(_ task: DatabaseTask) async throws -> DatabaseReport {
        // What another run does here is none of the operator's mistakes, so it is said alone.
        let fence = try await fenceState()
        if let fence, fence.keepsOut(task) { throw fence.held }
        try await refuseOtherRuns(task)
        let isInstalled = try await isInstalled()
        let mayBeInClear = configuration.mayBeInClear
        let questions = PreflightQuestion.about(
            level, holdsSessions: configuration.holdsSessions)
        let findings = try await open().perform { session in
            var findings = try PreflightQuestion.server(session)
            findings += PreflightQuestion.transport(
                isInClear: !session.isEncrypted && !session.isLocal, mayBe: mayBeInClear)
            for question in questions {
                findings += try question.ask(session)
            }
            return findings
        }
        let superusers = try await superuserSessions()
        // One that came before this one may have been logging in when it was first looked for.
        try await refuseOtherRuns(task)
        let ledger = try await preflightLedger(task, isInstalled)
        let others =
            superusers + ledger + (try await migrationFindings()) + withoutWayBack()
            + (try await longTransactionWarnings()) + (try await toolFindings())
            + (try await standbyFindings(task))
        let all = (findings + toolGaps()).map(judged) + leftOutFindings(fence) + others
        let errors = all.filter { $0.severity == .error }
        if !errors.isEmpty {
            throw DatabaseFailure(
                code: "preflight",
                "the database is not ready: " + errors.map(\.message).joined(separator: "; "),
                advice: errors.first?.advice, findings: all)
        }
        let pending = configuration.migrations.migrations.count
        var report = DatabaseReport(
            lines: ["the database is ready; \(pending) migrations in the release"] + levelLines(),
            warnings: all.filter { $0.severity != .error })
        report.place = try await place()
        if let fence, fence.isLeftOut { report.leftOutBy = RunIdentifier(rawValue: fence.run) }
        report.sessions = try await windowSessions(
            hasPooler: all.contains { $0.code == "pooler-behind" })
        return report
    }

    /// The server's own identifier and the database's: the same under whatever name it is reached.
    private func place() async throws -> String {
        try await open().query(
            """
            SELECT concat_ws('/', \(FenceStatements.server), oid)
            FROM pg_database WHERE datname = current_database()
            """)[0].text(0)
    }

    /// Fails while a session of another run is open that is older than this one.
    ///
    /// Of two runs that begin at once the first one wins: the other finds its lock. When that cannot be told, both go on, and
    /// the row of `sluice.fence` decides. Only the lock of a superuser or of the migrator counts; an application could
    /// take the same one.
    func refuseOtherRuns(_ task: DatabaseTask) async throws {
        // The run before this one may have ended a moment ago.
        let others = try await settled(within: .seconds(1)) {
            try await open().query(
                """
                SELECT DISTINCT format('run %s as %s since %s',
                    coalesce(substring(a.application_name FROM '^sluice (.+) epoch [0-9]+$'), '?'), a.usename,
                    \(FenceSchema.utcText("a.backend_start")))
                FROM \(SchemaUpgrade.otherSessions) AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
                WHERE l.run <> \(SchemaUpgrade.runLock(of: "$1"))
                    AND a.usesysid IN (SELECT oid FROM pg_roles WHERE rolsuper OR rolname = session_user)
                    AND (a.backend_start, a.pid) < (
                        SELECT o.backend_start, o.pid FROM pg_stat_activity AS o WHERE o.pid = pg_backend_pid())
                ORDER BY 1 LIMIT 5
                """, [task.run.rawValue]
            ).map { $0.text(0) }
        }
        if others.isEmpty { return }
        throw DatabaseFailure(
            code: "other-run",
            "another run is at work on this database: \(others.joined(separator: "; "))",
            advice: FenceSchema.heldAdvice("RUN"))
    }

    /// Sessions of other runs are ``refuseOtherRuns(_:)``'s to judge.
    private func superuserSessions() async throws -> [Diagnostic] {
        let trusted = configuration.trustedSuperusers
        return try await settled(within: .milliseconds(500)) {
            try await open().query(
                """
                SELECT r.rolname, quote_ident(r.rolname), \(FenceStatements.description)
                FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
                WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type IN ('client backend', 'walsender')
                    AND (r.rolsuper OR r.rolname = session_user)
                    AND a.pid NOT IN (SELECT l.pid FROM \(SchemaUpgrade.otherSessions) AS l)
                ORDER BY a.pid LIMIT 50
                """
            ).filter { !trusted.contains($0.text(0)) }
        }.map { row in
            Diagnostic(
                .error, code: "superuser-session",
                "a session that the fence cannot hold: \(row.text(2))",
                advice:
                    "connect the application as another role, or ALTER ROLE \(row.text(1)) NOSUPERUSER; "
                    + "the migrator needs a role that nobody else uses")
        }
    }

    private func preflightLedger(_ task: DatabaseTask, _ isInstalled: Bool) async throws
        -> [Diagnostic]
    {
        guard isInstalled else { return Ledger().findings(configuration.migrations) }
        return try await ledger().findings(configuration.migrations)
    }

    private func withoutWayBack() -> [Diagnostic] {
        configuration.migrations.withoutDown.filter { $0.phase != .contract }.map { migration in
            Diagnostic(
                .warning, code: "no-down-migration",
                at: .init(file: migration.up.file, line: 1, column: 1),
                "\(migration.title) has no down file: once it has taken effect, this run can only go forward",
                advice: "write \(migration.title).down.sql")
        }
    }

    private func longTransactionWarnings() async throws -> [Diagnostic] {
        let found = try await stragglers(
            """
            a.xact_start < clock_timestamp() - make_interval(secs => \(configuration.drainTimeout.milliseconds) / 1000.0)
            """)
        if found.isEmpty { return [] }
        let readers = configuration.sparesReaders ? try await rolesThatOnlyRead() : []
        return found.prefix(20).map { transaction in
            let advice =
                if transaction.isReader(readers) {
                    configuration.stragglers == .terminate
                        ? "it only reads, so it is left alone, unless a migration has to wait for what it reads"
                        : "it only reads, so it is left alone; a migration that changes what it reads waits for it"
                } else if configuration.stragglers == .terminate {
                    "if it is still there when the fence goes up, its session is ended"
                } else {
                    "if it is still there when the fence goes up, the run turns back"
                }
            return Diagnostic(
                .warning, code: "long-transaction",
                "older than the drain timeout: \(transaction.description)", advice: advice)
        }
    }
}
