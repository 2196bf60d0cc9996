// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says what is to be undone of what the tool has done before the window.
struct SettleExpandStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.settleExpand
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "look at what is to be undone of the migration tool before the window" }

    func details(_ preview: StepPreview) -> [String] {
        guard let tool = preview.plan.tool, tool.revert == nil else { return [] }
        return [
            "if it has changed anything, the run waits here, with the old release served, until the database has been put back by hand "
                + "or somebody has said that it may stay so"
        ]
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard let change = run.tool[.expand].change, !change.isNone, !run.isSchemaAccepted,
            run.plan.tool?.revert == nil
        else { return [] }
        return [
            .stopped(
                Stopped(
                    reason:
                        "before the window the migration tool has changed the database, and the plan names no `revert_with`: \(change.sentence)",
                    advice: run.waysOutOfExpansion))
        ]
    }
}

extension Run {
    /// What leads on where the old release is served on what the tool has done before the window.
    var waysOutOfExpansion: String {
        let first =
            plan.tool?.revert.map { action in
                "put right what failed, or put the database back by hand; then `sluice retry \(identifier)` compares it with before, "
                    + "and runs \(action) once more where something is left"
            }
            ?? "put the database back as it was, then `sluice retry \(identifier)`, which compares it with before"
        return "the old release is served; \(first); "
            + "or leave it as it is: `sluice resolve \(identifier) --accept-schema --reason TEXT`"
            + forwardAgain
    }
}
