// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Applies the `contract` migrations, after the lift.
struct ContractStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.contract
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "apply the contract migrations" }
    func atOnce(in plan: Plan) -> Int { plan.migrationsAtOnce }
    func details(_ preview: StepPreview) -> [String] { preview.pending(.contract, of: self) }
}
