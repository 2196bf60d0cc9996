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
            "until the lift it is watched: the run turns back before more than \(standby.walText) of the write-ahead log wait for it on the primary",
        ]
    }

    var audience: Audience { .everyMember }

    /// The standby has all that was ever written (the census has waited for that), so nobody misses anything there: the nodes go over
    /// while it is cut off, and the step that proves it finds it so.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        ReadFromStandbyStep(phase, index: nil).ask(&directive, of: seat, in: run)
    }

    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        ReadFromStandbyStep(phase, index: nil).askUntilUndone(&directive, of: seat, in: run)
    }

    /// The schema is as it was, so the old release is served on the primary again.
    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        if undoing.isPromoting { return [] }
        return [ReactivateStep(phase, index: nil)] + HaltStep.undoOfStart(undoing)
    }

    /// The task ends by itself within the first; this is the last resort behind it.
    func allowanceOfTask(in run: Run) -> Span { run.plan.deadline(of: .readOnly) + .seconds(20) }
}

extension Step {
    public static let freezeStandby = FreezeStep.step
}
