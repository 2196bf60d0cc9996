// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The database says what the tool has done before the window.
struct JudgeExpandStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.judgeExpand
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool?.expand == nil ? [] : [JudgeExpandStep(phase, index: nil)]
    }

    var title: String { "look at what the migration tool has done before the window" }

    func stepToRetry(in run: Run) -> Step {
        run.isToolJudged ? ExpandWithStep.step : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        run.toolVerdict(.expand, again: ExpandWithStep.step, partly: run.partlyAdvice)
    }
}
