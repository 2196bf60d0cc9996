// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Looks over the database for everything that would make a later task fail.
struct PreflightTaskStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.preflight
    static let touches = false
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "look over the database" }
}
