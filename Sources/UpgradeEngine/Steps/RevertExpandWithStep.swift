// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the action that undoes what the tool has done before the window. No fence is up any more.
struct RevertExpandWithStep: ToolRunStep {
    static let word = "nodes:tool-expansion-reverted"
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    func task(in run: Run) -> NodeTask? {
        let work = run.tool(index)[.expand]
        return tool(in: run.plan)?.revert.map {
            run.runOfTool(
                $0, at: self, number: work.runsBack, run.toolRun(undoing: work, .online))
        }
    }

    /// Nobody where nothing is to be undone.
    func node(in run: Run) -> NodeName? {
        run.tool(index)[.expand].change?.isNone == true ? nil : run.toolNode(index)
    }

    var title: String { "undo what the migration tool has done before the window" }

    func title(in plan: Plan) -> String {
        title(in: plan, running: tool(in: plan)?.revert)
    }
}

extension Step {
    public static let toolExpansionReverted = RevertExpandWithStep.step
}
