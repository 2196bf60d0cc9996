// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The standby follows until it has all that the census has proved, and is cut off there: it shows what was before the migration for as
/// long as that takes.
struct FreezeStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.freezeStandby
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby == nil ? [] : [FreezeStep(phase, index: nil)]
    }

    var title: String { "freeze the standby" }

    func details(_ preview: StepPreview) -> [String] {
        guard let standby = preview.plan.frozenStandby else { return [] }
        return [
            "it follows until it has all that was ever written, and is cut off there",
            "the run turns back before more than \(standby.walText) of the write-ahead log wait for it on the primary",
        ]
    }

    /// The task ends by itself within the first; this is the last resort behind it.
    func allowanceOfTask(in run: Run) -> Span { run.plan.deadline(of: .readOnly) + .seconds(20) }
}

extension Step {
    public static let freezeStandby = FreezeStep.step
}
