// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What the tool has said that it would do is read like a migration file, and shown.
struct ReadPreviewStep: DatabaseStep, EachToolStep {
    static let kind = DatabaseTask.Kind.readPreview
    static let touches = false
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    static func isPart(of tool: Plan.Tool) -> Bool { tool.preview != nil }

    var title: String { "read what the migration tool would do" }

    func details(_ preview: StepPreview) -> [String] {
        ["with the warnings of a migration file; it is in watch, status and report from then on"]
    }
}
