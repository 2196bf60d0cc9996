// SPDX-License-Identifier: Apache-2.0

internal import UpgradeEngine
internal import UpgradeModel

/// The facts of a run as plain lines, for pipes and logs.
struct FactLine {
    /// When the run began; every line says how long after that it was.
    let began: Instant
    /// Whether a step has begun that changes anything: a run that turns back before that is a refused one.
    private var hasTouched = false

    init(began: Instant) { self.began = began }

    /// `+0.412s  web-1 reached`
    mutating func line(_ entry: JournalEntry) -> String {
        if case .stepBegan(let began) = entry.event, began.step.touches { hasTouched = true }
        return "+\((entry.at - began).seconds)  \(printable(words(entry.event)))"
    }

    private func words(_ event: RunEvent) -> String {
        switch event {
        case .created(let created):
            "run \(created.run): \(created.fleet) to \(created.release.name) on "
                + "\(counted(created.nodes.count, "node")), started by \(created.by)"
        case .stepBegan(let began):
            began.direction == .forward
                ? "\(began.phase): \(began.step.title)" : "undo \(began.phase): \(began.step.title)"
        case .nodeSurveyed(let survey):
            "\(survey.node) is on \(survey.active?.release.name.rawValue ?? "no release"), agent \(survey.agentVersion)"
        case .nodeReached(let fact): "\(fact.node) reached"
        case .nodeFailed(let trouble): "\(trouble.node) failed: \(trouble.reason)"
        case .nodeQuarantined(let trouble): "\(trouble.node) quarantined: \(trouble.reason)"
        case .nodeReadmitted(let fact): "\(fact.node) takes part again"
        case .nodeJoined(let fact): "\(fact.node) joined; quarantined until it is upgraded"
        case .drainCutShort(let cut):
            "the drain's time is over with writes in flight on "
                + cut.nodes.map(\.rawValue).joined(separator: ", ")
        case .databaseTaskStarted(let fact):
            "database: \(fact.kind.title)" + (fact.attempt > 1 ? ", attempt \(fact.attempt)" : "")
        case .databaseTaskEnded(let ended): FactLine.words(ended)
        case .approved(let approved): "\(approved.phase) approved" + FactLine.words(approved.mark)
        case .paused(let mark): "paused" + FactLine.words(mark)
        case .resumed(let mark): "resumed" + FactLine.words(mark)
        case .aborted(let mark): "aborted" + FactLine.words(mark)
        case .retried(let mark): "tried again" + FactLine.words(mark)
        case .turnedBack(let turned):
            (hasTouched ? "turns back: " : "refused: ") + turned.reason
                + (turned.advice.map { "; next: \($0)" } ?? "")
        case .stopped(let stopped): "stopped: \(stopped.reason); next: \(stopped.advice)"
        case .ended(let ended): FactLine.words(ended.outcome)
        }
    }

    private static func words(_ ended: DatabaseTaskEnded) -> String {
        switch ended.result {
        case .done:
            let report = ended.report
            let lines = report?.lines ?? []
            let detail = lines.isEmpty ? "" : ": " + lines.joined(separator: "; ")
            return
                "database: \(ended.kind.title) done in \((report?.duration ?? .zero).text)\(detail)"
        case .failed:
            let failure = ended.failure
            let advice = failure?.advice.map { "; next: \($0)" } ?? ""
            return "database: \(ended.kind.title) failed: \(failure?.message ?? "")\(advice)"
        case .lost:
            return
                "database: \(ended.kind.title): its coordinator is gone; looking at what took effect"
        }
    }

    private static func words(_ mark: RequestMark) -> String {
        " by \(mark.by)" + (mark.reason.map { ": \($0)" } ?? "")
    }

    private static func words(_ outcome: Ended.Outcome) -> String {
        switch outcome {
        case .done: "done"
        case .rolledBack: "rolled back"
        case .refused: "nothing was touched"
        }
    }
}
