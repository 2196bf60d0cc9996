// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says whether everything is as it was before the tool ran before the window.
struct JudgeRevertExpandStep: RevertedStep {
    static let kind = DatabaseTask.Kind.judgeRevertExpand
    static let moment = MigrationPhase.expand
    static let settling = SettleExpandStep.word
    static let work = "what the migration tool has done before the window"
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "compare the database with what it was before the run" }

    func advice(in run: Run) -> String { waysOutOfExpansion(in: run) }
}
