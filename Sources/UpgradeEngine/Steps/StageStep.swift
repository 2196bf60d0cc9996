// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The new release is on disk, verified, and warm.
struct StageStep: StepDefinition {
    static let word = "nodes:staged"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "stage the release and warm it" }

    func title(in plan: Plan) -> String {
        plan.startsAfterMigration ? "stage the release" : title
    }

    func details(_ preview: StepPreview) -> [String] {
        preview.plan.startsAfterMigration
            ? ["it starts after the migration"]
            : Listed.line("warm with", preview.plan.rollout.warm)
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.stage = run.created.release
        directive.tasks += run.warmTasks
    }

    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.stage = run.created.release
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let failure = status.failure(of: .stage) { return .failed(failure) }
        let isStaged = status.staged.contains(run.created.release)
        return Verdict.on(run.warmTasks, in: status, and: isStaged)
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] { [UnstageStep(.stage, index: nil)] }
}

extension Step {
    public static let staged = StageStep.step
}
