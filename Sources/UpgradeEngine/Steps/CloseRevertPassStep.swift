// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says whether everything is as it was before the tool ran.
struct CloseRevertPassStep: RevertedStep {
    static let kind = DatabaseTask.Kind.closeRevertPass
    static let moment = MigrationPhase.switch
    static let settling = SettlePassStep.word
    static let work = "what the migration tool has done"
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "compare the database with what it was before the migration tool ran" }

    func advice(in run: Run) -> String {
        "put right what failed, or put the database back by hand; then `sluice retry \(run.identifier)`, which compares "
            + "it again and undoes what is left; writes stay held or refused until then"
            + run.forwardAgain
    }
}
