// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel
internal import UpgradePlan

/// What each fact of a run says, for people. Remembers what was said, so that nothing is said twice.
struct FactSentences {
    /// Of the things that a database task reports, so many are told; the report has all of them.
    private static let details = 6

    private var plan: Plan?
    /// Whether a step has begun that changes anything: a run that turns back before that is a refused one.
    private var hasTouched = false
    /// What a database task failed with, one finding a line.
    private var findings = ""

    /// The sentence, and lines that belong to it.
    mutating func describe(_ event: RunEvent) -> [String] {
        switch event {
        case .created(let created):
            plan = PlanDocument.stored(text: created.plan, file: created.planFile)
            return [
                "run \(created.run): \(created.fleet) to \(created.release.name) on "
                    + "\(counted(created.nodes.count, "node")), started by \(created.by)"
            ]
        case .stepBegan(let began):
            if began.step.touches { hasTouched = true }
            let undo = began.direction == .forward ? "" : "undo "
            return ["\(undo)\(began.phase): \(began.step.title(in: plan))"]
        case .databaseTaskEnded(let ended):
            return describe(ended)
        case .turnedBack(let turned):
            let reason = saidOnce(turned.reason)
            return FactSentences.lines(
                (hasTouched ? "turns back: " : "refused: ") + reason
                    + (turned.advice.map { "; next: \($0)" } ?? ""))
        case .stopped(let stopped):
            return FactSentences.lines(
                "stopped: \(saidOnce(stopped.reason)); next: \(stopped.advice)")
        default:
            return FactSentences.lines(FactSentences.short(event))
        }
    }

    private static func short(_ event: RunEvent) -> String {
        switch event {
        case .nodeSurveyed(let survey):
            "\(survey.node) is on \(survey.active?.release.name.rawValue ?? "no release"), agent \(survey.agentVersion)"
        case .nodeReached(let fact): "\(fact.node) reached"
        case .nodeFailed(let trouble): "\(trouble.node) failed: \(trouble.reason)"
        case .nodeQuarantined(let trouble): "\(trouble.node) quarantined: \(trouble.reason)"
        case .nodeReadmitted(let fact): "\(fact.node) takes part again"
        case .nodeJoined(let fact): "\(fact.node) joined; quarantined until it is upgraded"
        case .drainCutShort(let cut):
            "the drain's time is over with writes in flight on \(listed(cut.nodes.map(\.rawValue)))"
        case .databaseTaskStarted(let fact):
            "database: \(fact.kind.title)" + (fact.attempt > 1 ? ", attempt \(fact.attempt)" : "")
        case .approved(let approved): "\(approved.phase) approved" + describe(approved.mark)
        case .paused(let mark): "paused" + describe(mark)
        case .resumed(let mark): "resumed" + describe(mark)
        case .aborted(let mark): "aborted" + describe(mark)
        case .retried(let mark): "tried again" + describe(mark)
        case .ended(let ended): describe(ended.outcome)
        default: event.type
        }
    }

    private mutating func describe(_ ended: DatabaseTaskEnded) -> [String] {
        let task = "database: \(ended.kind.title)"
        switch ended.result {
        case .done:
            let report = ended.report
            let done = "\(task) done in \((report?.duration ?? .zero).text)"
            let lines = report?.lines ?? []
            let detail = lines.count == 1 ? [": \(lines[0])"] : []
            return FactSentences.lines(done + detail.joined())
                + (lines.count > 1 ? FactSentences.few(lines) : [])
                + (report?.warnings ?? []).map(\.description)
        case .failed:
            let failure = ended.failure
            let errors = failure?.findings ?? []
            guard let failure, !errors.isEmpty else {
                findings = ""
                let advice = failure?.advice.map { "; next: \($0)" } ?? ""
                return FactSentences.lines("\(task) failed: \(failure?.message ?? "")\(advice)")
            }
            findings = failure.message
            return ["\(task) failed: \(counted(errors.count, "finding"))"]
                + errors.map(\.description)
        case .lost:
            return ["\(task): its coordinator is gone; looking at what took effect"]
        }
    }

    /// A reason without the findings that were listed just before.
    private func saidOnce(_ reason: String) -> String {
        guard !findings.isEmpty else { return reason }
        return reason.replacing(": \(findings)", with: ", see above")
    }

    private static func lines(_ text: String) -> [String] { printableLines(text) }

    private static func few(_ lines: [String]) -> [String] {
        let rest = lines.count - details
        return Array(lines.prefix(details))
            + (rest > 0 ? ["… and \(rest) more; the report has all"] : [])
    }

    private static func listed(_ names: [String]) -> String {
        let rest = names.count - 8
        return names.prefix(8).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }

    private static func describe(_ mark: RequestMark) -> String {
        " by \(mark.by)" + (mark.reason.map { ": \($0)" } ?? "")
    }

    private static func describe(_ outcome: Ended.Outcome) -> String {
        switch outcome {
        case .done: "done"
        case .rolledBack: "rolled back"
        case .refused: "nothing was touched"
        }
    }
}
