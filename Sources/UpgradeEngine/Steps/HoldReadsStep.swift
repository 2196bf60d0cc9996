// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: reads are held until the old schema is there again.
struct HoldReadsStep: StepDefinition {
    static let word = "nodes:reads-held"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "hold reads" }
    func details(_ preview: StepPreview) -> [String] { preview.heldReads }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        .reached(if: !run.isSchemaInDoubt || run.isHoldingReads(status))
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }
}

extension Step {
    public static let readsHeld = HoldReadsStep.step
}
