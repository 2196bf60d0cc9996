// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the frozen standby is promoted behind the fence that it has, while the nodes go over to it.
///
/// Writers wait for both, so neither waits for the other. It takes no writes: the fence comes down there once nobody reads from the first
/// primary any more and that is shut. From here on the run does not go forward again.
struct PromoteBehindFenceStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.promoteBehindFence
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "promote the standby behind its fence" }

    func details(_ preview: StepPreview) -> [String] {
        [
            "only where the schema may be another than before; otherwise the old release is served on the primary again, the fence is lowered, and the standby follows",
            "neither server takes writes; from here on the run does not go forward again",
        ]
    }

    /// Readers go over meanwhile; the step that proves it finds it so.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        ReactivateStep(phase, index: nil).ask(&directive, of: seat, in: run)
    }

    /// Writers wait meanwhile: a person is asked soon.
    func allowance(in run: Run) -> Span? { max(run.plan.deadline(of: .readOnly), .minutes(2)) }
}

extension Step {
    public static let promoteBehindFence = PromoteBehindFenceStep.step
}
