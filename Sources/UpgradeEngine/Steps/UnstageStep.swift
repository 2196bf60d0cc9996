// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the new application is stopped and its release gone.
struct UnstageStep: StepDefinition {
    static let word = "nodes:unstaged"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "remove the new release" }
    let isTidying = true

    func details(_ preview: StepPreview) -> [String] {
        Listed.line("actions", preview.plan.rollout.retire)
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.stage = nil
        directive.tasks += run.unstageTasks
        directive.unstage = run.releaseToRemove
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let failure = status.failure(of: .unstage) { return .failed(failure) }
        let isGone = run.releaseToRemove.map { !status.staged.contains($0) } ?? true
        return Verdict.on(run.unstageTasks, in: status, and: isGone)
    }
}

extension Step {
    public static let unstaged = UnstageStep.step
}
