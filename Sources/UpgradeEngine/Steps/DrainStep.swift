// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// No write request is in flight.
struct DrainStep: StepDefinition {
    static let word = "nodes:drained"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "drain writes in flight" }
    let isProof = true
    let audience = Audience.nobody

    func details(_ preview: StepPreview) -> [String] {
        let drain = preview.plan.drain
        let end = drain.stragglers == .terminate ? "ended" : "left alone and the run turns back"
        return ["for \(drain.timeout) at most; then stragglers are \(end)"]
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.onClosedGate(status, of: seat, and: status.gate.writesInFlight == 0)
    }

    func allowance(in run: Run) -> Span? { run.plan.drain.timeout }

    /// When the time is over, the census ends what is left, if the plan says so.
    let isCutShort = true
}

extension Step {
    public static let drained = DrainStep.step
}
