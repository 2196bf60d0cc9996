// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The database says what the tool has done before the window.
struct JudgeExpandStep: DatabaseStep, EachToolStep {
    static let kind = DatabaseTask.Kind.judgeExpand
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    static func isPart(of tool: Plan.Tool) -> Bool { tool.expand != nil }

    var title: String { "look at what the migration tool has done before the window" }

    func stepToRetry(in run: Run) -> Step {
        run.isToolJudged ? Step(ExpandWithStep.word, index) : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        verdict(
            on: .expand, again: ExpandWithStep.self, partly: partlyAdvice(in: run), in: run)
    }
}
