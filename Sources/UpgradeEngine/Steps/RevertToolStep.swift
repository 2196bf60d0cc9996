// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the action that undoes what the tool has done in the window, given what its ledger was before.
struct RevertToolStep: ToolRunStep {
    static let word = "nodes:tool-reverted"
    static let needsPass = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func task(in run: Run) -> NodeTask? { run.toolRevertTask }

    /// Nobody where no pass is open, because nothing is to be undone.
    static func node(in run: Run) -> NodeName? {
        run.pass(for: run.toolRevertTask) == nil ? nil : OpenRevertPassStep.nodes(in: run).first
    }

    var title: String { "undo what the migration tool has done" }

    func title(in plan: Plan) -> String {
        plan.tool?.revert.map {
            "undo what the migration tool has done: the action \($0)"
        } ?? title
    }
}

extension Step {
    public static let toolReverted = RevertToolStep.step
}
