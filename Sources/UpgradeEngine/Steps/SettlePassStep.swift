// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the tool's sessions are let through no longer, and the database says what is to be undone.
struct SettlePassStep: SettlingStep {
    static let kind = DatabaseTask.Kind.settlePass
    static let moment = MigrationPhase.switch
    static let meanwhile = "with writes closed, until the database has been put back by hand"
    static let reason = "the migration tool has changed the database"
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "look at what is to be undone of the migration tool" }

    func advice(in run: Run) -> String {
        "put the database back as it was, by hand or from a backup, then `sluice retry \(run.identifier)`, "
            + "which compares it with before; writes stay held or refused until then"
            + run.forwardAgain
    }
}
