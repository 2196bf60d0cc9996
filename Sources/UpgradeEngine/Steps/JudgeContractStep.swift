// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The database says what the tool has done after the lift. Nothing is undone any more: a person is asked.
struct JudgeContractStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.judgeContract
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool?.contract == nil ? [] : [JudgeContractStep(phase, index: nil)]
    }

    var title: String { "look at what the migration tool has done after the lift" }

    func stepToRetry(in run: Run) -> Step {
        run.isToolJudged ? ContractWithStep.step : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        if run.isSchemaAccepted { return [] }
        let advice =
            "the new release is served, and stays so; put right what failed, then `sluice retry \(run.identifier)` runs the tool again; "
            + "or leave what is missing to the next release: `sluice resolve \(run.identifier) --accept-schema --reason TEXT`"
        return run.toolVerdict(.contract, again: ContractWithStep.step, partly: advice)
    }
}
