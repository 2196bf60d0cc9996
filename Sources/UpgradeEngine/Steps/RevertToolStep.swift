// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the action that undoes what the tool has done in the window, given what its ledger was before.
struct RevertToolStep: ToolRunStep {
    static let word = "nodes:tool-reverted"
    static let needsPass = true
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    func task(in run: Run) -> NodeTask? { run.toolRevertTask(index) }

    /// Nobody where no pass is open, because nothing is to be undone.
    func node(in run: Run) -> NodeName? {
        run.pass(for: task(in: run)) == nil
            ? nil : OpenRevertPassStep(phase, index: index).nodes(in: run).first
    }

    var title: String { "undo what the migration tool has done" }

    func title(in plan: Plan) -> String {
        title(in: plan, running: tool(in: plan)?.revert)
    }
}

extension Step {
    public static let toolReverted = RevertToolStep.step
}
