// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Takes the write block down and restores exactly what was stored. Forward, this is the point of no return.
struct LowerFenceStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.lowerFence
    static let endsWayBack = true
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "lower the fence" }
    func atOnce(in plan: Plan) -> Int { Databases.atOnce }

    func details(_ preview: StepPreview) -> [String] {
        let count = preview.plan.databases.count
        guard phase == .lift, index == 0 else { return [] }
        return ["the point of no return of all \(count) databases"]
    }

    /// A gate that a person has opened lets writes through, of an old release as well, and behind the fence they would meet the
    /// new schema.
    func objection(seeing observations: Observations, at now: Instant, in run: Run) -> Objection? {
        guard run.direction == .forward else { return nil }
        let broken = run.members.keys.sorted().compactMap { node in
            observations[node]?.status.breakGlass.map { "\(node): \($0)" }
        }
        guard !broken.isEmpty else { return nil }
        return Objection(
            reason:
                "the fence stays up, because gates were opened by hand: "
                + Listed.text(broken, separator: "; "),
            advice:
                "end that on each of them with `sluice-agent break-glass end`, then `sluice retry \(run.identifier)`; "
                + "`sluice rollback \(run.identifier)` undoes the run")
    }
}
