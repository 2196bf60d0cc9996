// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The tool does before the window what the old release does not mind: readers and writers go on meanwhile.
struct ExpandWithStep: ToolRunStep {
    static let word = "nodes:tool-expanded"
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    static func isPart(of tool: Plan.Tool) -> Bool { tool.expand != nil }

    func task(in run: Run) -> NodeTask? {
        tool(in: run.plan)?.expand.map {
            run.runOfTool(
                $0, at: self, number: run.tool(index)[.expand].runs, ToolRun(unfenced: .online))
        }
    }

    func node(in run: Run) -> NodeName? { run.toolNode(index) }

    var title: String { "run the migration tool before the window" }

    func title(in plan: Plan) -> String {
        title(in: plan, running: tool(in: plan)?.expand)
    }

    func details(_ preview: StepPreview) -> [String] {
        let tool = tool(in: preview.plan)
        let back =
            tool?.revert.map { "undone by the action \($0)" }
            ?? "nothing undoes it: on the way back the old release is served on it, and the run waits at its end for a person"
        return [
            "on \(preview.node(of: tool)), once, while the old release is served",
            "if it fails halfway, \(preview.ifPartly(tool, orElse: "the run turns back"))", back,
        ]
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        // It stays as it is on the standby that is the primary now; the tool of the new release knows only the first one.
        if undoing.isPromoting { return [] }
        let settle = SettleExpandStep(phase, index: index)
        guard tool(in: undoing.plan)?.revert != nil else { return [settle] }
        return [
            settle, RevertExpandWithStep(phase, index: index),
            JudgeRevertExpandStep(phase, index: index),
        ]
    }
}

extension Step {
    public static let toolExpanded = ExpandWithStep.step
}
