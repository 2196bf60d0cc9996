// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The application's own migration tool runs in the window, on one node, from the staged release.
struct ToolStep: ToolRunStep {
    static let word = "nodes:tool"
    static let needsPass = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool == nil ? [] : [ToolStep(phase, index: nil)]
    }

    static func task(in run: Run) -> NodeTask? { run.toolTask }
    static func node(in run: Run) -> NodeName? { run.toolNode }

    var title: String { "run the migration tool" }

    func title(in plan: Plan) -> String {
        plan.tool.map { "run the migration tool: the action \($0.action)" } ?? title
    }

    func details(_ preview: StepPreview) -> [String] {
        guard let tool = preview.plan.tool else { return [] }
        let back =
            preview.plan.frozenStandby.map { _ in
                "whatever it does, the frozen standby is the way back"
            }
            ?? tool.revert.map { "undone by the action \($0)" }
            ?? "nothing undoes it: once it has changed the database, the run turns back no more by itself"
        let partly = preview.ifPartly(orElse: "the run turns back")
        return ["on \(preview.toolNode), once", "if it fails halfway, \(partly)", back]
    }
}

extension Step {
    public static let tool = ToolStep.step
}
