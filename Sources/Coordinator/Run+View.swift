// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import UpgradeEngine
import UpgradeModel

extension Run {
    /// The run's row in a list.
    var summary: RunSummary {
        RunSummary(
            run: identifier, fleet: fleet, release: created.release.name, createdAt: createdAt,
            state: state, phase: phase, startedBy: created.by, endedAt: endedAt)
    }

    /// The run as an operator watches it.
    ///
    /// - Parameter statuses: what the nodes last said, and when.
    func view(statuses: [NodeName: Observations.Seen], at now: Instant) -> RunView {
        RunView(
            summary: summary, version: version, now: now, step: stepTitle, reason: reasonToShow,
            advice: adviceToShow, batch: currentBatch, batches: batches.count,
            windowOpened: windowOpened,
            windowClosed: windowClosed, database: databaseTitle,
            stillPaused: stillPaused.isEmpty ? nil : stillPaused,
            nodes: members.keys.sorted().map { row(of: $0, statuses[$0], at: now) })
    }

    private var stepTitle: String {
        switch state {
        case .done, .rolledBack, .refused: state.rawValue
        default: current?.step.title ?? "begin"
        }
    }

    private var reasonToShow: String? {
        if case .stopped(let stopped) = standing { return stopped.reason }
        return reason
    }

    private var adviceToShow: String? {
        if case .stopped(let stopped) = standing { return stopped.advice }
        if state == .awaitingApproval { return "go on with `sluice approve \(identifier)`" }
        if state == .paused { return "go on with `sluice resume \(identifier)`" }
        return advice
    }

    private var databaseTitle: String? {
        guard let task = database.inFlight else { return nil }
        return task.attempt > 1 ? "\(task.kind.title), attempt \(task.attempt)" : task.kind.title
    }

    private func row(of name: NodeName, _ seen: Observations.Seen?, at now: Instant) -> NodeRow {
        let member = members[name]
        return NodeRow(
            name: name, standing: member?.quarantine == nil ? .member : .quarantined,
            reached: reached(by: name), batch: member?.batch.map { $0 + 1 },
            reason: member?.quarantine ?? current?.failed[name], lastSeen: seen.map { now - $0.at },
            status: seen?.status)
    }

    /// Whether the current step is reached on a node; `nil` when the step does not name it.
    private func reached(by node: NodeName) -> Bool? {
        guard let current, !isEnded, members[node]?.quarantine == nil else { return nil }
        if current.pending.contains(node) { return false }
        return current.reached.contains(node) ? true : nil
    }
}
