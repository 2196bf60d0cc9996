// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The database says what the tool has done after the lift. Nothing is undone any more: a person is asked.
struct JudgeContractStep: DatabaseStep, EachToolStep {
    static let kind = DatabaseTask.Kind.judgeContract
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    static func isPart(of tool: Plan.Tool) -> Bool { tool.contract != nil }

    var title: String { "look at what the migration tool has done after the lift" }

    func stepToRetry(in run: Run) -> Step {
        run.isToolJudged ? Step(ContractWithStep.word, index) : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        if run.isSchemaAccepted { return [] }
        let advice =
            "the new release is served, and stays so; put right what failed, then `sluice retry \(run.identifier)` runs the tool again; "
            + "or leave what is missing to the next release: `sluice resolve \(run.identifier) --accept-schema --reason TEXT`"
        return verdict(on: .contract, again: ContractWithStep.self, partly: advice, in: run)
    }
}
