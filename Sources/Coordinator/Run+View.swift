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
            summary: summary, version: version, now: now, step: stepTitle, reason: because,
            advice: next, batch: currentBatch, batches: batches.count,
            windowOpened: windowOpened,
            windowClosed: windowClosed, database: databaseTitle,
            stillPaused: stillPaused.isEmpty ? nil : stillPaused,
            lateSessions: lateSessions.isEmpty ? nil : lateSessions,
            refusedTables: refusedTables.isEmpty ? nil : refusedTables,
            leftOut: databasesLeftOut.isEmpty ? nil : databasesLeftOut.map(\.sentence),
            nodes: members.keys.sorted().map { row(of: $0, statuses[$0], at: now) })
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
