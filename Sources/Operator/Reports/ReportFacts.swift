// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// What the text and the page of a report both say, in the same words.
struct ReportFacts {
    let report: RunReport

    struct Row: Hashable {
        var label: String
        var value: String
        var isStrong = false
    }

    var title: String { "Run \(report.run): \(report.fleet) to \(report.release.name)" }

    /// Time since the run began.
    func time(_ instant: Instant) -> String { "+\((instant - report.createdAt).seconds)" }

    var summary: [Row] {
        var rows = [Row(label: "outcome", value: report.state.title, isStrong: true)]
        if let reason = report.reason { rows.append(Row(label: "because", value: reason)) }
        if let advice = report.advice { rows.append(Row(label: "next", value: advice)) }
        rows += [
            Row(label: "write window", value: window, isStrong: true),
            Row(label: "migration", value: report.migration?.text ?? "none ran"),
        ]
        if let reversion = report.reversion {
            rows.append(Row(label: "undoing it", value: reversion.text))
        }
        if let rest = report.windowMinusMigration, report.migration != nil {
            rows.append(Row(label: "window minus migration", value: rest.text, isStrong: true))
        }
        if let paused = report.stillPaused, !paused.isEmpty {
            rows.append(Row(label: "still paused", value: paused.joined(separator: "\n")))
        }
        if let cutOff { rows.append(Row(label: "cut off", value: cutOff)) }
        if let refused = report.refusedTables {
            rows.append(Row(label: "refused by the fence", value: refused.joined(separator: "\n")))
        }
        if let changes = report.schemaChanges {
            rows.append(
                Row(label: "schema", value: "not as before: " + changes.joined(separator: "\n")))
        }
        return rows + [
            Row(label: "release", value: release),
            Row(label: "plan", value: "\(report.planFile), digest \(report.digest.short)"),
            Row(label: "started", value: "\(report.createdAt.text) by \(report.startedBy)"),
            Row(
                label: "took",
                value: report.duration.text + (report.endedAt == nil ? " so far" : "")),
            Row(label: "nodes", value: nodes),
        ]
    }

    /// Until when the picture of a window shows that is not over: where the run first stopped, for it says how it came to that.
    /// The waiting since then may be of hours.
    var windowShown: Instant {
        guard let opened = report.windowOpened else { return report.lastAt }
        return report.troubles.first { $0.kind == .stopped && $0.at >= opened }?.at ?? report.lastAt
    }

    private var window: String {
        if let window = report.window { return window.text }
        return report.windowOpened == nil ? "writes were never closed" : "writes are still closed"
    }

    private var release: String {
        let before = Set(report.nodes.compactMap(\.before)).sorted().map(\.rawValue).joined(
            separator: ", ")
        return (before.isEmpty ? "" : "\(before) → ")
            + "\(report.release.name), manifest \(report.release.manifest.short)"
    }

    private var nodes: String {
        let quarantined = report.nodes.filter { $0.quarantine != nil }.count
        return "\(report.nodes.count)" + (quarantined > 0 ? ", \(quarantined) quarantined" : "")
    }

    /// What the gates did with requests, a row a node; empty when no gate has said.
    var gates: (titles: [String], rows: [[String]]) {
        let found = report.nodes.compactMap { node in node.gate.map { (node.name, $0) } }
        let isBypassed = found.contains { $0.1.unasked > 0 }
        let titles =
            [
                "node", "writes held", "refused", "longest wait", "reads held", "of sessions",
                "refused",
            ]
            + (isBypassed ? ["past the gate"] : [])
        let rows = found.map { name, gate in
            let counts = [gate.readsHeld, gate.sessionReadsHeld, gate.readsRefused]
            return [
                name.rawValue, "\(gate.writesHeld)", "\(gate.writesRefused)",
                gate.longestWait.text,
            ] + (counts + (isBypassed ? [gate.unasked] : [])).map { "\($0)" }
        }
        return (titles, rows)
    }

    /// What was cut off with the old release: people whose page, stream or socket ended in the middle.
    private var cutOff: String? {
        let counts = report.nodes.compactMap(\.cut)
        guard !counts.isEmpty else { return nil }
        return
            "\(counted(counts.reduce(0, +), "connection")) to the old release on \(counted(counts.count, "node")): streams, sockets, slow reads"
    }

    /// What preflight warned of on nodes, each once, with those that it holds for.
    var nodeWarnings: [String] {
        var nodes: [String: [String]] = [:]
        for node in report.nodes {
            for warning in node.warnings ?? [] {
                nodes[warning, default: []].append(node.name.rawValue)
            }
        }
        return nodes.map { warning, names in
            let first = names.prefix(3).joined(separator: ", ")
            return first + (names.count > 3 ? " and \(names.count - 3) more" : "") + ": \(warning)"
        }.sorted()
    }

    static let nodeSteps: [(title: String, matches: @Sendable (Step) -> Bool)] = [
        ("staged", { $0 == .staged }), ("closed", { $0 == .closed }),
        ("drained", { $0 == .drained }), ("upgraded", { $0.batchUpgraded != nil }),
        ("verified", { $0 == .verified }), ("opened", { $0 == .opened }),
    ]

    /// When a node last reached each of the steps; empty where it did not.
    func reached(_ node: RunReport.NodeEntry) -> [String] {
        ReportFacts.nodeSteps.map { step in
            let milestone = node.milestones.last { milestone in
                milestone.kind == .reached && milestone.step.map(step.matches) == true
            }
            return milestone.map { time($0.at) } ?? ""
        }
    }

    func describe(_ entry: RunReport.DatabaseEntry) -> String {
        let database = entry.database.map { "\($0): " } ?? ""
        return "\(database)\(EventWords.title(entry.kind, entry.attempt)): \(end(of: entry).text)"
    }

    private func end(of entry: RunReport.DatabaseEntry) -> EventWords.Sentence {
        EventWords.end(entry.result, entry.report, entry.failure)
    }

    /// Each run of the application's own migration tool: when it ended, how, and the last that it said.
    var tools: [(at: Instant, text: String, said: [String])] {
        (report.tools ?? []).map { entry in
            let end = EventWords.end(entry.ended)
            let phase = entry.phase ?? .migrate
            let undo = entry.direction == .forward ? "" : "undo "
            return (
                entry.at, "\(undo)\(phase): \(end.text)", shortened(end.details, what: "line")
            )
        }
    }

    var census: [String] {
        if let proof = report.census { return census(proof) }
        // Of several databases the last one of each counts.
        var proofs: [DatabaseName: CensusProof] = [:]
        for entry in report.database {
            if let name = entry.database, let proof = entry.report?.census { proofs[name] = proof }
        }
        return proofs.keys.sorted().flatMap { name in
            (proofs[name].map(census) ?? []).map { "\(name): \($0)" }
        }
    }

    private func census(_ proof: CensusProof) -> [String] {
        [
            "no transaction older than \(proof.transaction) was left; nothing of an application lies beyond \(proof.fenceLSN)",
            "stored state to restore: \(proof.stored.short)",
        ]
            + (proof.ended.isEmpty
                ? ["no transaction had to be ended"]
                : shortened(proof.ended, what: "transaction").map { "ended: \($0)" })
    }

    /// A list for people: so many of its entries, each of a length that is read. The JSON of a report has all of it.
    static let entries = 40
    static let entryLength = 240

    func shortened(_ list: [String], what: String) -> [String] {
        let shown = list.prefix(ReportFacts.entries).map { fitted($0, to: ReportFacts.entryLength) }
        let rest = list.count - shown.count
        return shown + (rest > 0 ? ["\(counted(rest, "more \(what)")), in the report's JSON"] : [])
    }

    /// What a database task had to say, and what it found.
    func details(_ entry: RunReport.DatabaseEntry) -> [String] {
        let end = end(of: entry)
        return shortened(end.details, what: "line") + end.findings.map(\.description)
            + (end.next.map { ["next: \($0)"] } ?? [])
    }

    func describe(_ phase: RunReport.PhaseEntry) -> String {
        phase.direction == .forward ? phase.phase.rawValue : "undo \(phase.phase.rawValue)"
    }
}
