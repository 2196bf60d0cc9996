// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// A tool of the application's migrates behind the fence: its sessions are let through, and what has come of it is looked at.
extension SchemaUpgrade {
    /// Keeps what the tool's ledger and the schema are before it first runs, and opens the fence for whoever shows the secret
    /// with the task's digest. A pass that is open for another secret ends.
    ///
    /// Everybody else meets the fence as before, and also at what the tool makes. Only the numbers of sequences that the roles
    /// own are held by nothing while the pass is open.
    ///
    /// - Returns: what the ledger was, as something to go back to.
    func openPass(_ task: DatabaseTask) async throws -> DatabaseReport {
        guard let tool = configuration.tool else {
            throw DatabaseFailure(code: "fault", "a pass was asked for, and no tool is named")
        }
        try await refuseWithoutCensus(task)
        try await refuseThawedStandby(task)
        if task.kind == .openPass { try await keepBaseline(tool, task) }
        var report = DatabaseReport(ledger: try await baseline(task)?.heads ?? [])
        guard let digest = task.pass else { return report }
        let pass = FencePass(digest: digest, roles: try await roles(of: tool))
        let found = try await openedPass()
        if found == nil { try await refuseTablesWithoutTrigger() }
        if let found, found != pass { report.lines += try await shut(found, task) }
        let opening =
            claim(task) + expectFence(task, "up") + pass.recognition
            + FenceStatements.refusals(
                migrator: migrator, lookingForPass: true, isComplete: isComplete,
                counters: RefusalCounters(of: task.run))
            + pass.opening(isComplete: isComplete)
                + """
                UPDATE sluice.fence SET passes = \(pass.list), pass = '\(digest.hexadecimal)';
                SELECT setval('sluice.open_pass', \(pass.key))
                """
        try await open().transaction { session in _ = try session.execute(opening) }
        report.lines.append(
            "let through: sessions of \(pass.roles.joined(separator: ", ")) with the tool's secret")
        return report
    }

    /// Shuts the fence again for the tool, ends its sessions, and says what is other than before it ran. Safe to repeat, also
    /// where no pass was ever open.
    func closePass(_ task: DatabaseTask) async throws -> DatabaseReport {
        let found = try await fenceState()
        let isUp = found?.run == task.run.rawValue && found?.state == "up"
        guard isUp || task.kind != .closePass else {
            throw DatabaseFailure(
                code: "fence-down", "the fence of this run is not up any more",
                advice: "see who has taken it down; then roll the run back")
        }
        var report = DatabaseReport()
        if isUp, let pass = try await openedPass() {
            report.lines = try await shut(pass, task)
            try await rememberTransactions(task)
        }
        try await say(what: baseline(task), is: &report)
        return report
    }

    private func refuseWithoutCensus(_ task: DatabaseTask) async throws {
        let found = try await fenceState()
        if let found, found.isHeld(against: task) { throw found.held }
        guard let found, found.state == "up", found.census != nil else {
            throw DatabaseFailure(
                code: "fence-down",
                "the fence is not up, or no census has proved that nobody writes",
                advice: "raise the fence and take the census first")
        }
    }

    private func openedPass() async throws -> FencePass? {
        let rows = try await open().query(
            "SELECT pass, unnest(passes) FROM sluice.fence WHERE pass IS NOT NULL")
        guard let digest = rows.first.flatMap({ Digest($0.text(0)) }) else { return nil }
        return FencePass(digest: digest, roles: rows.map { $0.text(1) })
    }

    // MARK: Closing

    /// - Returns: what is to be said of it.
    private func shut(_ pass: FencePass, _ task: DatabaseTask) async throws -> [String] {
        let claim = claim(task) + expectFence(task, "up")
        let close =
            claim
            + FenceStatements.refusals(
                migrator: migrator, isComplete: isComplete,
                counters: RefusalCounters(of: task.run))
            + FencePass.shut(isComplete: isComplete)
        try await open().transaction { session in _ = try session.execute(close) }
        // All who have come through hold the pass's lock, and nobody gets through any more.
        let ended = try await endSessions(
            """
            a.pid IN (SELECT l.pid FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.objsubid = 2
                AND l.classid = \(LockClass.pass) AND l.objid = \(pass.key)
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
            """)
        try await refusePreparedTransactions()
        // What the tool made is fenced already; this is for what no event trigger sees.
        let deadline = deadline(.seconds(20))
        while try await closeWhatAppeared(task) {
            try await refuseEndlessWait(after: deadline)
            try await waitForOlder(task, until: deadline)
        }
        _ = try await open().execute(
            claim + "UPDATE sluice.fence SET passes = NULL, pass = NULL")
        return ["nobody is let through any more, and no session of the tool is left"]
            + ended.map { "ended: \($0)" }
    }

    /// Waits a moment for sessions that are ending, and ends the others.
    ///
    /// - Returns: who was ended.
    func endSessions(_ condition: String) async throws -> [String] {
        let grace = deadline(.seconds(1))
        var ended: [String] = []
        while true {
            try checkCancellation()
            let left = try await stragglers(condition)
            if left.isEmpty { return ended }
            if ContinuousClock.now >= grace {
                let blockers = try await blockers(of: left)
                try await end(left, until: deadline(.seconds(10)))
                ended += left.map { session in
                    let others = blockers[session.process, default: []]
                    return session.description
                        + (others.isEmpty
                            ? "" : ", which waited for " + others.joined(separator: "; and for "))
                }
            } else {
                try await Task.sleep(for: .milliseconds(2))
            }
        }
    }

    // MARK: Roles

    /// The roles that the tool may log in as. A pass is for roles that the fence holds.
    func roles(of tool: Configuration.ToolAccess) async throws -> [String] {
        if let role = tool.role {
            let words = try await open().query(
                """
                SELECT CASE WHEN r.oid IS NULL THEN 'does not exist' WHEN r.rolname = session_user THEN 'is Sluice''s own'
                    WHEN r.rolsuper THEN 'is a superuser, whom no fence holds' WHEN NOT r.rolcanlogin THEN 'may not log in' END
                FROM (VALUES ($1)) AS n (name) LEFT JOIN pg_roles AS r ON r.rolname = n.name
                """, [role])[0][0]
            guard let words else { return [role] }
            throw DatabaseFailure(
                code: "pass-role",
                "role \(role), which the migration tool is to log in as, \(words)",
                advice: "name a role that logs in and is, or belongs to, the owner of the tables")
        }
        let owner = try await surroundings().owner
        let roles = try await open().query(
            """
            SELECT r.rolname FROM pg_roles AS r WHERE r.rolcanlogin AND NOT r.rolsuper
                AND r.rolname <> session_user AND pg_has_role(r.oid, $1, 'MEMBER') ORDER BY 1
            """, [owner ?? migrator]
        ).map { $0.text(0) }
        if !roles.isEmpty { return roles }
        throw DatabaseFailure(
            code: "pass-role",
            "no role that may log in is, or belongs to, the owner of the tables (\(owner ?? migrator))",
            advice:
                "name the role that the migration tool logs in as: database: {migrate_with: {role: …}}"
        )
    }

    // MARK: Before and after

    private func keepBaseline(_ tool: Configuration.ToolAccess, _ task: DatabaseTask) async throws {
        guard try await baseline(task) == nil else { return }
        let rows = try await present(tool).parts.enumerated().map { part, texts in
            "('tool', 0, \(part), \(quotedLiteral(task.run.rawValue)), \(quotedArray(texts)))"
        }
        let keep =
            claim(task) + expectFence(task, "up")
            + "INSERT INTO sluice.stored (kind, object, part, detail, before) VALUES "
            + rows.joined(separator: ", ") + " ON CONFLICT DO NOTHING"
        try await open().transaction { session in _ = try session.execute(keep) }
    }

    private func baseline(_ task: DatabaseTask) async throws -> ToolBaseline? {
        guard try await isInstalled() else { return nil }
        let rows = try await open().query(
            """
            SELECT part, e FROM sluice.stored LEFT JOIN LATERAL unnest(before) WITH ORDINALITY AS u (e, n) ON true
            WHERE kind = 'tool' AND detail = $1 ORDER BY part, n
            """, [task.run.rawValue])
        return ToolBaseline(rows)
    }

    /// Whether the tool could pass, and its ledger be read. What is wrong with the owner is said elsewhere.
    func toolFindings() async throws -> [Diagnostic] {
        guard let tool = configuration.tool else { return [] }
        var findings: [Diagnostic] = []
        func note(_ failure: DatabaseFailure) {
            if failure.code.hasPrefix("owner-") { return }
            findings.append(
                Diagnostic(.error, code: failure.code, failure.message, advice: failure.advice))
        }
        do { _ = try await roles(of: tool) } catch let failure as DatabaseFailure { note(failure) }
        do { _ = try await toolLedger(tool) } catch let failure as DatabaseFailure { note(failure) }
        return findings
    }

    func toolLedger(_ tool: Configuration.ToolAccess) async throws -> ToolLedgerState {
        do {
            return try await read(tool.ledger)
        } catch let error as PostgresError where !error.isConnectionLost {
            throw DatabaseFailure(
                code: "tool-ledger",
                "the ledger of the migration tool cannot be read as the owner of the tables: \(error.description)",
                advice:
                    "correct the ledger that the plan names, or its query; let the owner read it")
        }
    }
}
