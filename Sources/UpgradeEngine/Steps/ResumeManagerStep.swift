// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Whoever looks after both servers knows which of them is the primary, and works as before the run.
struct ResumeManagerStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.resumeManager
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby?.manager == nil ? [] : [ResumeManagerStep(phase, index: nil)]
    }

    /// What undoes the pause, where it has begun: once the standby follows, or is the primary.
    static func undoOfPause(_ undoing: Undoing) -> [any StepDefinition] {
        undoing.hasBegun(PauseManagerStep.self) ? [ResumeManagerStep(.readOnly, index: nil)] : []
    }

    var title: String { "let the cluster manager go on" }

    func details(_ preview: StepPreview) -> [String] {
        [
            "it stays paused where it was before the run; after a promotion it makes the new primary its leader first"
        ]
    }
}

extension Step {
    public static let managerResumed = ResumeManagerStep.step
}
