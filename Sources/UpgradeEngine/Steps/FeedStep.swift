// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The standby follows the primary again, and all that was set for the freeze is as it was before.
struct FeedStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.feedStandby
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby == nil ? [] : [FeedStep(phase, index: nil)]
    }

    var title: String { "let the standby follow again" }

    func details(_ preview: StepPreview) -> [String] {
        ["until it has caught up; its settings and the primary's are as before"]
    }
}

extension Step {
    public static let feedStandby = FeedStep.step
}
