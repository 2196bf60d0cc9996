// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What the tool has said that it would do is read like a migration file, and shown.
struct ReadPreviewStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.readPreview
    static let touches = false
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool?.preview == nil ? [] : [ReadPreviewStep(phase, index: nil)]
    }

    var title: String { "read what the migration tool would do" }

    func details(_ preview: StepPreview) -> [String] {
        ["with the warnings of a migration file; it is in watch, status and report from then on"]
    }
}
