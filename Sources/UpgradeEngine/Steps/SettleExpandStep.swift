// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says what is to be undone of what the tool has done before the window.
struct SettleExpandStep: SettlingStep {
    static let kind = DatabaseTask.Kind.settleExpand
    static let moment = MigrationPhase.expand
    static let meanwhile =
        "with the old release served, until the database has been put back by hand or somebody has said that it may stay so"
    static let reason = "before the window the migration tool has changed the database"
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "look at what is to be undone of the migration tool before the window" }

    func advice(in run: Run) -> String { waysOutOfExpansion(in: run) }
}
