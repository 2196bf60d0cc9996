// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back of a run that did not come to its expand migrations: whether the schema is as preflight found it. A script
/// that starts the new release may have migrated.
struct CompareSchemaStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.compareSchema
    static let touches = false
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "compare the schema with what it was before" }
}
