// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the action that undoes what the tool has done before the window. No fence is up any more.
struct RevertExpandWithStep: ToolRunStep {
    static let word = "nodes:tool-expansion-reverted"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func task(in run: Run) -> NodeTask? {
        let work = run.tool[.expand]
        return run.plan.tool?.revert.map {
            run.runOfTool(
                $0, at: step, number: work.runsBack, run.toolRun(undoing: work, .online))
        }
    }

    /// Nobody where nothing is to be undone.
    static func node(in run: Run) -> NodeName? {
        run.tool[.expand].change?.isNone == true ? nil : run.toolNode
    }

    var title: String { "undo what the migration tool has done before the window" }

    func title(in plan: Plan) -> String {
        plan.tool?.revert.map { "\(title): the action \($0)" } ?? title
    }
}

extension Step {
    public static let toolExpansionReverted = RevertExpandWithStep.step
}
