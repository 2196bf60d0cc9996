// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The tool's sessions are let through no longer, and the database says what the tool has done.
///
/// Done: the tool ended well. Nothing: it did not, and nothing is other than before. Partly: it did not, and something is.
struct ClosePassStep: DatabaseStep, EachToolStep {
    static let kind = DatabaseTask.Kind.closePass
    /// So often the tool is run in all, where the plan says `again`.
    static let mostRuns = 3
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "look at what the migration tool has done" }

    /// Once it is known what the tool has done, a person may have it run again, with a pass of its own. Before that nobody does.
    func stepToRetry(in run: Run) -> Step {
        run.isToolJudged ? Step(OpenPassStep.word, index) : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        verdict(
            on: .switch, again: OpenPassStep.self, partly: partlyAdvice(in: run), in: run)
    }
}
