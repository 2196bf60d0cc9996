// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

/// Waits for `approve` before a phase begins.
struct ApprovalStep: NodelessStep {
    static let word = "approval"
    static let touches = false
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var step: Step { .approval(phase) }
    var title: String { "wait for approval of \(phase)" }

    func details(_ preview: StepPreview) -> [String] {
        ["sluice approve lets \(phase) begin"] + notes(preview.plan)
    }

    /// What a person has to know who lets a migration tool go on.
    func notes(_ plan: Plan) -> [String] {
        let staying = plan.toolIndices.filter { plan.tool($0)?.revert == nil }
            .map { plan.name(ofTool: $0) }
        guard phase <= .migrate, !staying.isEmpty else { return [] }
        let names = Listed.text(staying, separator: " and ")
        return [
            "nothing undoes what \(names) \(staying.count > 1 ? "do" : "does"): from its first change on, a failure waits for a person instead of turning back"
        ]
    }
    func allowance(in run: Run) -> Span? { nil }
    func isSatisfied(in run: Run) -> Bool { run.approvals.contains(phase) }
}

extension Step {
    public static func approval(_ phase: Phase) -> Step {
        Step("\(ApprovalStep.word):\(phase)", nil)
    }
}

extension ApprovalStep {
    /// The stored words of all approvals, one for each phase.
    static let words = Dictionary(
        uniqueKeysWithValues: Phase.allCases.map { (Step.approval($0).word, $0) })
}
