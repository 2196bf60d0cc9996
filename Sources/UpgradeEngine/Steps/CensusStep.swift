// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Proves that no writer is left.
struct CensusStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.census
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "prove that no writer is left" }

    /// The task ends its own stragglers when the drain's budget is spent; this is the last resort behind it.
    func allowanceOfTask(in run: Run) -> Span { run.plan.drain.timeout + .seconds(20) }
}
