// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Whoever looks after both servers promotes and reconfigures none of them by itself, until the run has ended.
///
/// It is told before the gates close, because its members hear of it one after the other.
struct PauseManagerStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.pauseManager
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby?.manager == nil ? [] : [PauseManagerStep(phase, index: nil)]
    }

    var title: String { "pause the cluster manager" }

    func details(_ preview: StepPreview) -> [String] {
        guard let manager = preview.plan.frozenStandby?.manager else { return [] }
        return [
            "Patroni (\(manager.patroni)): every member says that it is paused; it promotes nobody by itself from now on"
        ]
    }
}

extension Step {
    public static let managerPaused = PauseManagerStep.step
}
