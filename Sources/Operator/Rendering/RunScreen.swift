// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import UpgradeModel

/// A run on one screen: what `status RUN` prints, and what `--watch` draws again and again.
struct RunScreen: Sendable {
    var view: RunView
    /// How long ago the view came, so that what is elapsed goes on between two of them.
    var age: Span = .zero
    /// Why the coordinator is not heard, while it is not.
    var lost: String?
    /// What preflight warned of, until writes are closed.
    var warnings: [String] = []

    /// - Parameter height: the most lines; a screen has no more than that.
    func lines(width: Int, height: Int = .max) -> [StyledLine] {
        let head = header(width: width, isShort: height != .max)
        let rest = height == .max ? .max : max(2, height - head.count - 1)
        return
            (head
            + NodeTable.lines(
                view.nodes, of: view.allNodes.nodes, width: width,
                rows: rest == .max ? .max : rest - 1))
            .map { $0.fitted(to: width) }
    }

    private var now: Instant { view.now + age }
    private var state: RunState { view.summary.state }

    private func header(width: Int, isShort: Bool) -> [StyledLine] {
        var lines = [title, progress]
        lines += gates
        if let database = view.database {
            lines.append(StyledLine("database  ", .faint) + StyledLine(printable(database)))
        }
        let most = isShort ? 4 : 60
        for wait in view.waits ?? [] { lines += labelled("waits", wait, .warning, width, most) }
        for paused in view.stillPaused ?? [] {
            lines += labelled("paused", paused, .warning, width, most)
        }
        for session in view.lateSessions ?? [] {
            lines += labelled("session", session, .warning, width, most)
        }
        for tables in view.refusedTables ?? [] {
            lines += labelled("refused", tables, .plain, width, most)
        }
        if let reason = view.reason {
            lines += labelled("because", reason, isAtFault ? .bad : .warning, width, most)
        }
        if let advice = view.advice { lines += labelled("next", advice, .strong, width, most) }
        if view.windowOpened == nil {
            let shown = warnings.prefix(isShort ? 3 : warnings.count)
            lines += shown.flatMap { labelled("warning", $0, .warning, width, 2) }
            if warnings.count > shown.count {
                let rest = warnings.count - shown.count
                lines.append(StyledLine("          and \(rest) more, in the report", .faint))
            }
        }
        if let lost { lines += labelled("lost", lost, .bad, width, most) }
        return lines + [StyledLine("")]
    }

    private var title: StyledLine {
        let summary = view.summary
        return StyledLine("run \(summary.run)", .strong)
            + StyledLine("  \(summary.fleet) to \(summary.release)  ")
            + StyledLine(state.title, state.role)
            + StyledLine("  \(((summary.endedAt ?? now) - summary.createdAt).text)", .faint)
    }

    private var progress: StyledLine {
        let batch =
            view.batches > 0 && view.batch > 0 ? "  batch \(view.batch) of \(view.batches)" : ""
        let all = view.allNodes
        let reached = all.named == 0 ? "" : "  \(all.reached)/\(all.named) nodes"
        return StyledLine("phase     ", .faint)
            + StyledLine("\(view.summary.phase)", .strong)
            + StyledLine(state.isEnded ? "" : ": \(printable(view.step))\(reached)\(batch)")
    }

    /// What the gates do, all nodes together.
    private var gates: [StyledLine] {
        guard let opened = view.windowOpened else { return [] }
        let all = view.allNodes
        let refusal = all.writesRefused > 0 ? ", \(all.writesRefused) refused" : ""
        let label = StyledLine("writes    ", .faint)
        var lines: [StyledLine] = []
        if let closed = view.windowClosed {
            lines.append(
                label + StyledLine("open again", .good)
                    + StyledLine(", were closed for \((closed - opened).text)\(refusal)"))
        } else {
            lines.append(
                label + StyledLine("closed", .warning)
                    + StyledLine(" for \((now - opened).text), \(all.writesWaiting) held\(refusal)")
            )
        }
        if let unasked = all.unasked, unasked > 0 {
            lines.append(
                StyledLine("past gate ", .faint)
                    + StyledLine("\(counted(unasked, "write"))", .warning)
                    + StyledLine(" reached an application without the gate being asked"))
        }
        if all.readsHeld || all.readsRefused > 0 {
            lines.append(
                StyledLine("reads     ", .faint)
                    + StyledLine("\(all.readsWaiting) held", .warning)
                    + StyledLine(
                        all.readsRefused > 0 ? ", \(all.readsRefused) answered 503" : ""))
        }
        return lines
    }

    private var isAtFault: Bool { state == .waiting || state == .rolledBack || state == .refused }

    private func labelled(
        _ label: String, _ text: String, _ role: StyledLine.Role, _ width: Int, _ most: Int
    ) -> [StyledLine] {
        let indent = 10
        let lines = printableLines(text).flatMap { wrapped($0, to: max(20, width - indent)) }
        return lines.prefix(most).enumerated().map { index, line in
            let name = index == 0 ? label : ""
            let blank = String(repeating: " ", count: indent - columns(of: name))
            return StyledLine(name + blank, .faint) + StyledLine(line, role)
        }
    }
}

/// Counts are of nodes, whose word for them may be anything.
func sum(_ counts: [Int]) -> Int {
    counts.reduce(0) { total, count in
        let (sum, isOver) = total.addingReportingOverflow(count)
        return isOver ? .max : sum
    }
}

extension RunState {
    /// For people.
    var title: String {
        switch self {
        case .running: "running"
        case .rollingBack: "rolling back"
        case .paused: "paused"
        case .awaitingApproval: "awaiting approval"
        case .waiting: "waiting for a person"
        case .done: "done"
        case .rolledBack: "rolled back"
        case .refused: "refused, nothing was touched"
        }
    }

    var role: StyledLine.Role {
        switch self {
        case .running: .active
        case .done: .good
        case .rollingBack, .paused, .awaitingApproval, .rolledBack: .warning
        case .waiting, .refused: .bad
        }
    }
}
