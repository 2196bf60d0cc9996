// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The tool does after the lift what the new release does not need any more; the new release is served meanwhile.
struct ContractWithStep: ToolRunStep {
    static let word = "nodes:tool-contracted"
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    static func isPart(of tool: Plan.Tool) -> Bool { tool.contract != nil }

    func task(in run: Run) -> NodeTask? {
        tool(in: run.plan)?.contract.map {
            run.runOfTool(
                $0, at: self, number: run.tool(index)[.contract].runs, ToolRun(unfenced: .online))
        }
    }

    func node(in run: Run) -> NodeName? { run.toolNode(index) }

    var title: String { "run the migration tool after the lift" }

    func title(in plan: Plan) -> String {
        title(in: plan, running: tool(in: plan)?.contract)
    }

    func details(_ preview: StepPreview) -> [String] {
        let tool = tool(in: preview.plan)
        let partly = preview.ifPartly(tool, orElse: "the run waits for a person")
        return [
            "on \(preview.node(of: tool)), once, while the new release is served",
            "if it fails halfway, \(partly); the new release stays served",
        ]
    }
}

extension Step {
    public static let toolContracted = ContractWithStep.step
}
