// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says whether everything is as it was before the tool ran before the window.
struct JudgeRevertExpandStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.judgeRevertExpand
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "compare the database with what it was before the run" }

    /// Compares again, and undoes again what is left.
    func stepToRetry(in run: Run) -> Step {
        run.current?.isDatabaseDone == true ? SettleExpandStep.step : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard let change = run.tool[.expand].change, !change.isNone, !run.isSchemaAccepted else {
            return []
        }
        return [
            .stopped(
                Stopped(
                    reason:
                        "what the migration tool has done before the window is not undone: \(change.sentence); \(run.toolTrouble)",
                    advice: run.waysOutOfExpansion))
        ]
    }
}
