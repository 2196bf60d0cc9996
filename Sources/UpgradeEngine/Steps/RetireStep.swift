// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The old application is stopped and surplus releases are gone.
struct RetireStep: StepDefinition {
    static let word = "nodes:retired"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "retire the old release" }
    let isTidying = true

    func details(_ preview: StepPreview) -> [String] {
        Listed.line("actions", preview.plan.rollout.retire)
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard !seat.isQuarantined else { return }
        let undoing = run.plan.hooks.isEmpty ? [] : directive.tasks.filter(\.undoesHook)
        directive.tasks = undoing + run.retireTasks(of: seat.node)
        directive.keepReleases = run.plan.keepReleases
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let failure = status.failure(of: .prune) { return .failed(failure) }
        return Verdict.on(run.retireTasks(of: seat.node), in: status)
    }
}

extension Step {
    public static let retired = RetireStep.step
}
