// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Undoes the `expand` migrations of this run with their down-migrations.
struct RevertExpansionStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.revertExpand
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "undo the expand migrations" }
    func details(_ preview: StepPreview) -> [String] { preview.undone(.expand, of: self) }
}
