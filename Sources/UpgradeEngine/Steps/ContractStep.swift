// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Applies the `contract` migrations, after the lift.
struct ContractStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.contract
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "apply the contract migrations" }
    func details(_ preview: StepPreview) -> [String] { preview.pending(.contract) }
}
