// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says whether everything is as it was before the tool ran.
struct CloseRevertPassStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.closeRevertPass
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "compare the database with what it was before the migration tool ran" }

    /// Compares again, and undoes again what is left.
    func stepToRetry(in run: Run) -> Step {
        run.current?.isDatabaseDone == true ? SettlePassStep.step : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard let change = run.tool[.switch].change, !change.isNone else { return [] }
        return [
            .stopped(
                Stopped(
                    reason:
                        "what the migration tool has done is not undone: \(change.sentence); \(run.toolTrouble)",
                    advice:
                        "put right what failed, or put the database back by hand; then `sluice retry \(run.identifier)`, which compares "
                        + "it again and undoes what is left; writes stay held or refused until then"
                        + run.forwardAgain))
        ]
    }
}
