// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Applies the online-safe migrations, before the write window.
struct ExpandStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.expand
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "apply the expand migrations" }
    func details(_ preview: StepPreview) -> [String] { preview.pending(.expand) }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        [RevertExpansionStep(.stage, index: nil)]
    }
}
