// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Undoes the `expand` migrations of this run with their down-migrations.
struct RevertExpansionStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.revertExpand
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "undo the expand migrations" }
    func details(_ preview: StepPreview) -> [String] { preview.undone(.expand) }
}
