// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Applies the online-safe migrations, before the write window.
struct ExpandStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.expand
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "apply the expand migrations" }
    func atOnce(in plan: Plan) -> Int { plan.migrationsAtOnce }
    func details(_ preview: StepPreview) -> [String] { preview.pending(.expand, of: self) }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        [RevertExpansionStep(.stage, index: index)]
    }
}
