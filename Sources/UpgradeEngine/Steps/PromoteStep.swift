// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the primary is shut for good, and the frozen standby takes its place with the schema of before.
///
/// So whatever the migration has done, and however far it came, nothing of it has to be undone. What has been decided twice would be
/// two primaries: the task looks first, and the run goes forward no more once it may have taken effect.
struct PromoteStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.promoteStandby
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "make the standby the primary" }

    func details(_ preview: StepPreview) -> [String] {
        [
            "the primary is shut for good, with all that the migration has done; no down-migration runs",
            "the nodes serve the old release there; afterwards the first server is made a standby of it by hand, as the report says",
        ]
    }

    /// Writers wait meanwhile: a person is asked soon.
    func allowance(in run: Run) -> Span? { max(run.plan.deadline(of: .readOnly), .minutes(2)) }
}

extension Step {
    public static let promoteStandby = PromoteStep.step
}
