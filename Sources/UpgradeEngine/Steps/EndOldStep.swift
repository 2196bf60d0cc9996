// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back, once the standby is the primary: the old release on the first server ends; it has nothing to write to.
struct EndOldStep: StepDefinition {
    static let word = "nodes:old-ended"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "end the old release on the first primary" }
    let isTidying = true

    func details(_ preview: StepPreview) -> [String] {
        Listed.line("actions", preview.plan.rollout.retire)
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let old = run.oldRelease(of: seat.node) else { return }
        directive.tasks += run.endOldTasks(of: seat.node)
        directive.replaced = nil
        if old != run.created.release { directive.silenced = old }
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.on(run.endOldTasks(of: seat.node), in: status)
    }
}

extension Step {
    public static let oldEnded = EndOldStep.step
}
