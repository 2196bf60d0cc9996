// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The tool does before the window what the old release does not mind: readers and writers go on meanwhile.
struct ExpandWithStep: ToolRunStep {
    static let word = "nodes:tool-expanded"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool?.expand == nil ? [] : [ExpandWithStep(phase, index: nil)]
    }

    static func task(in run: Run) -> NodeTask? {
        run.plan.tool?.expand.map {
            run.runOfTool(
                $0, at: step, number: run.tool[.expand].runs, ToolRun(unfenced: .online))
        }
    }

    static func node(in run: Run) -> NodeName? { run.toolNode }

    var title: String { "run the migration tool before the window" }

    func title(in plan: Plan) -> String {
        plan.tool?.expand.map { "\(title): the action \($0)" } ?? title
    }

    func details(_ preview: StepPreview) -> [String] {
        let back =
            preview.plan.tool?.revert.map { "undone by the action \($0)" }
            ?? "nothing undoes it: on the way back the old release is served on it, and the run waits at its end for a person"
        return [
            "on \(preview.toolNode), once, while the old release is served",
            "if it fails halfway, \(preview.ifPartly(orElse: "the run turns back"))", back,
        ]
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        // It stays as it is on the standby that is the primary now; the tool of the new release knows only the first one.
        if undoing.isPromoting { return [] }
        let settle = SettleExpandStep(phase, index: nil)
        guard undoing.plan.tool?.revert != nil else { return [settle] }
        return [
            settle, RevertExpandWithStep(phase, index: nil),
            JudgeRevertExpandStep(phase, index: nil),
        ]
    }
}

extension Step {
    public static let toolExpanded = ExpandWithStep.step
}
