// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The application's own migration tool runs in the window, on one node, from the staged release.
struct ToolStep: ToolRunStep {
    static let word = "nodes:tool"
    static let needsPass = true
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    func task(in run: Run) -> NodeTask? { run.toolTask(index) }
    func node(in run: Run) -> NodeName? { run.toolNode(index) }

    /// The pass of the next tool of this node is made while this one runs, so that it costs no round of its own.
    func passTask(in run: Run) -> NodeTask? {
        let behind = run.plan.toolIndices.drop { $0 != index }.dropFirst()
        guard let next = behind.first, run.toolNode(next) == node(in: run) else {
            return task(in: run)
        }
        return run.toolTask(next)
    }

    var title: String { "run the migration tool" }

    func title(in plan: Plan) -> String {
        title(in: plan, running: tool(in: plan)?.action)
    }

    func details(_ preview: StepPreview) -> [String] {
        guard let tool = tool(in: preview.plan) else { return [] }
        let back =
            preview.plan.frozenStandby.map { _ in
                "whatever it does, the frozen standby is the way back"
            }
            ?? tool.revert.map { "undone by the action \($0)" }
            ?? "nothing undoes it: once it has changed the database, the run turns back no more by itself"
        let partly = preview.ifPartly(tool, orElse: "the run turns back")
        return ["on \(preview.node(of: tool)), once", "if it fails halfway, \(partly)", back]
    }
}

extension Step {
    public static let tool = ToolStep.step
}
