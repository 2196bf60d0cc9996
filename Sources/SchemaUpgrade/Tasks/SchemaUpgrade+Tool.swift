// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

/// A tool of the application's migrates before the window or after the lift, where no fence is up and everybody writes.
extension SchemaUpgrade {
    /// What the tool's ledger and the schema are now.
    func present(_ tool: Configuration.ToolAccess) async throws -> ToolBaseline {
        let state = try await toolLedger(tool)
        return ToolBaseline(state, tool.ledger, try await fingerprint())
    }

    /// Keeps what is there before the tool first runs in a moment of this run.
    ///
    /// - Returns: what its ledger was, as something to go back to.
    func keepBefore(
        _ phase: MigrationPhase, _ tool: Configuration.ToolAccess, _ task: DatabaseTask
    ) async throws -> [String] {
        if let known = try await before(phase, task) { return known.heads }
        let now = try await present(tool)
        let rows = now.parts.enumerated().map { part, texts in
            "(\(quotedLiteral(task.run.rawValue)), '\(phase.rawValue)', \(part), \(quotedArray(texts)))"
        }
        // Nobody asks for what was there before a run of a month ago.
        let keep =
            claim(task) + "DELETE FROM sluice.tool_before WHERE at < now() - interval '30 days';\n"
            + "INSERT INTO sluice.tool_before (run, moment, part, texts) VALUES "
            + rows.joined(separator: ", ") + " ON CONFLICT DO NOTHING"
        try await open().transaction { session in _ = try session.execute(keep) }
        return now.heads
    }

    private func before(
        _ phase: MigrationPhase, _ task: DatabaseTask
    ) async throws -> ToolBaseline? {
        guard try await isInstalled() else { return nil }
        return ToolBaseline(
            try await open().query(
                """
                SELECT part, e FROM sluice.tool_before LEFT JOIN LATERAL unnest(texts) WITH ORDINALITY AS u (e, n) ON true
                WHERE run = $1 AND moment = $2 ORDER BY part, n
                """, [task.run.rawValue, phase.rawValue]))
    }

    /// Ends what is left of the tool, and says what is other than before it ran. Safe to repeat.
    ///
    /// Its sessions are known by the name that its node gives them. One that hides it is held by the fence in the window.
    func judge(_ phase: MigrationPhase, _ task: DatabaseTask) async throws -> DatabaseReport {
        _ = try await open().execute(claim(task))
        let name = quotedLiteral(ToolSession.name(in: task.run))
        let ended = try await endSessions("a.application_name = \(name)")
        var report = DatabaseReport(lines: ended.map { "ended: \($0)" })
        let known = try await before(phase, task)
        if known == nil, configuration.tool?.phases.contains(phase) == true {
            report.change = ToolChange(isSchemaChanged: true, added: [], removed: [])
            report.lines.append("what was there before the tool is not known any more")
        } else {
            try await say(what: known, is: &report)
        }
        return report
    }

    /// Writes into a report what is other than before the tool ran; nothing where it was never to run.
    func say(what before: ToolBaseline?, is report: inout DatabaseReport) async throws {
        guard let tool = configuration.tool, let before else {
            report.change = ToolChange(isSchemaChanged: false, added: [], removed: [])
            return
        }
        let (change, differences) = try await present(tool).change(from: before)
        report.change = change
        for (what, entries) in [("new in", change.added), ("gone from", change.removed)]
        where !entries.isEmpty {
            let more = entries.count > 20 ? ["and \(entries.count - 20) more"] : []
            let shown = (Array(entries.prefix(20)) + more).joined(separator: ", ")
            report.lines.append("\(what) the tool's ledger: \(shown)")
        }
        report.lines += differences.prefix(20).map { "other than before the tool: \($0)" }
        if differences.count > 20 { report.lines.append("and \(differences.count - 20) more") }
    }

    /// What a tool would do, read like a migration file of the window.
    func readPreview(_ task: DatabaseTask) -> DatabaseReport {
        let preview = MigrationPreview.read(
            task.preview ?? "", servesReads: configuration.tool?.servesReads ?? true)
        return DatabaseReport(
            lines: [preview.summary] + preview.lines, warnings: preview.findings)
    }
}
