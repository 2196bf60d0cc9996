// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Watches a batch before the next one begins.
struct BakeStep: NodelessStep {
    static let word = "bake"
    static let isCounted = true
    let phase: Phase
    let batch: Int

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        batch = index ?? 0
    }

    var step: Step { .bake(batch: batch) }
    var title: String { "watch batch \(batch + 1)" }
    func details(_ preview: StepPreview) -> [String] { ["for \(preview.plan.rollout.bake)"] }
    func allowance(in run: Run) -> Span? { nil }
    func wait(in run: Run) -> Span? { run.plan.rollout.bake }
}

extension Step {
    public static func bake(batch: Int) -> Step { Step(BakeStep.word, batch) }
}
