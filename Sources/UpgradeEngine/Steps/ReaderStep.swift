// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The old release once more, on the standby: beside itself, warm, and asked at its own socket on pages that read.
///
/// The standby still follows then. What the release cannot do there it shows now, where it costs nothing. A release that the node's own
/// actions switch runs once: it is made ready to be switched to the standby, and asked once it is there.
struct ReaderStep: StepDefinition {
    static let word = "nodes:reader"
    static let asksWhileCurrent = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby == nil ? [] : [ReaderStep(phase, index: nil)]
    }

    var title: String { "start the old release on the standby" }

    func title(in plan: Plan) -> String {
        plan.isDatabaseSwitched ? "make the old release ready for the standby" : title
    }

    func details(_ preview: StepPreview) -> [String] {
        if preview.plan.isDatabaseSwitched {
            return [
                "the nodes' own action `fetch`, where they have one, with SLUICE_DATABASE=standby"
            ]
        }
        let rollout = preview.plan.rollout
        let checks = [rollout.health.check] + rollout.startChecks
        return Listed.line("start with SLUICE_DATABASE=standby", rollout.warm) + [
            "asked at its own socket: \(checks.map(\.rawValue).joined(separator: ", ")), "
                + "\(rollout.health.consecutive) in a row"
        ]
    }

    /// No longer than it is current: from then on what is staged is the new release.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, !run.isEnded, !seat.isQuarantined,
            let reader = run.reader(of: seat.node)
        else { return }
        directive.stage = reader
        directive.tasks += run.readerTasks(of: seat.node)
        if !run.isDatabaseSwitched { directive.health = run.readerHealth(of: reader) }
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        guard let reader = run.reader(of: seat.node) else {
            return .failed("nobody knows which release it served before the run")
        }
        if let failure = status.failure(of: .stage) { return .failed(failure) }
        let isHealthy =
            run.isDatabaseSwitched
            || status.health?.identity == run.readerHealth(of: reader).identity
                && status.health?.state == .healthy
        return Verdict.on(
            run.readerTasks(of: seat.node), in: status,
            and: status.staged.contains(reader) && isHealthy)
    }

    /// Where the standby has taken the primary's place, it is what is served. Otherwise nobody reads there any more before it
    /// follows again: what waits for what readers still look at would be cut off.
    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        let resume = ResumeManagerStep.undoOfPause(undoing)
        if undoing.isPromoting {
            // Where it is switched, it is the one that is served.
            return (undoing.plan.isDatabaseSwitched ? [] : [EndOldStep(phase, index: nil)]) + resume
        }
        let end: [any StepDefinition] = [EndReaderStep(phase, index: nil)]
        // The census keeps what the freeze has to give back.
        guard undoing.hasBegun(CensusStep.self) else { return end + resume }
        let drain: [any StepDefinition] =
            undoing.hasBegun(FreezeStep.self) ? [DrainReaderStep(phase, index: nil)] : []
        return drain + end + [FeedStep(phase, index: nil)] + resume
    }
}

extension Step {
    public static let reader = ReaderStep.step
}
