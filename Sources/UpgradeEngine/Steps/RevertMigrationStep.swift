// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Undoes the `switch` migrations of this run with their down-migrations.
struct RevertMigrationStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.revertMigrate
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "undo the migration" }
    func details(_ preview: StepPreview) -> [String] { preview.undone(.switch) }
}
