// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The tool does after the lift what the new release does not need any more; the new release is served meanwhile.
struct ContractWithStep: ToolRunStep {
    static let word = "nodes:tool-contracted"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool?.contract == nil ? [] : [ContractWithStep(phase, index: nil)]
    }

    static func task(in run: Run) -> NodeTask? {
        run.plan.tool?.contract.map {
            run.runOfTool(
                $0, at: step, number: run.tool[.contract].runs, ToolRun(unfenced: .online))
        }
    }

    static func node(in run: Run) -> NodeName? { run.toolNode }

    var title: String { "run the migration tool after the lift" }

    func title(in plan: Plan) -> String {
        plan.tool?.contract.map { "\(title): the action \($0)" } ?? title
    }

    func details(_ preview: StepPreview) -> [String] {
        let partly = preview.ifPartly(orElse: "the run waits for a person")
        return [
            "on \(preview.toolNode), once, while the new release is served",
            "if it fails halfway, \(partly); the new release stays served",
        ]
    }
}

extension Step {
    public static let toolContracted = ContractWithStep.step
}
