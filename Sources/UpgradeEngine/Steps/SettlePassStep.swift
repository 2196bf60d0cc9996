// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the tool's sessions are let through no longer, and the database says what is to be undone.
struct SettlePassStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.settlePass
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "look at what is to be undone of the migration tool" }

    func details(_ preview: StepPreview) -> [String] {
        guard let tool = preview.plan.tool, tool.revert == nil else { return [] }
        return [
            "if it has changed anything, the run waits here, with writes closed, until the database has been put back by hand"
        ]
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard let change = run.tool[.switch].change, !change.isNone,
            run.plan.tool?.revert == nil
        else { return [] }
        return [
            .stopped(
                Stopped(
                    reason:
                        "the migration tool has changed the database, and the plan names no `revert_with`: \(change.sentence)",
                    advice:
                        "put the database back as it was, by hand or from a backup, then `sluice retry \(run.identifier)`, "
                        + "which compares it with before; writes stay held or refused until then"
                        + run.forwardAgain))
        ]
    }
}
