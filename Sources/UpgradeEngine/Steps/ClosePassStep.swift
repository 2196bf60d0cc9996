// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The tool's sessions are let through no longer, and the database says what the tool has done.
///
/// Done: the tool ended well. Nothing: it did not, and nothing is other than before. Partly: it did not, and something is.
struct ClosePassStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.closePass
    /// So often the tool is run in all, where the plan says `again`.
    static let mostRuns = 3
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.database?.tool == nil ? [] : [ClosePassStep(phase, index: nil)]
    }

    var title: String { "look at what the migration tool has done" }

    /// Once it is known what the tool has done, a person may have it run again, with a pass of its own. Before that nobody does.
    func stepToRetry(in run: Run) -> Step {
        run.current?.isDatabaseDone == true && !followUp(in: run).isEmpty ? .openPass : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard let tool = run.plan.database?.tool, let current = run.current,
            let change = run.tool.change, run.tool.ended?.state != .done
        else { return [] }
        let outcome = change.isNone ? "has done nothing" : "has done a part of its work"
        let reason = "the migration tool \(outcome): \(run.toolTrouble) (\(change.sentence))"
        if change.isNone { return run.setback(reason) }
        switch tool.onPartly {
        case .again where run.tool.runs < ClosePassStep.mostRuns:
            return run.begins(.openPass, or: current)
        case .again, .person:
            return [.stopped(Stopped(reason: reason, advice: partlyAdvice(run)))]
        case .back: return run.setback(reason)
        }
    }

    private func partlyAdvice(_ run: Run) -> String {
        let back =
            run.plan.database?.tool?.revert.map { "undoes the run, with the action \($0)" }
            ?? "waits until the database has been put back by hand"
        return
            "`sluice retry \(run.identifier)` runs the tool again, which has to go on where it was; `sluice rollback \(run.identifier)` \(back)"
    }
}
