// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The old release of every node may write no more: its processes are frozen, or there are none.
///
/// The gate keeps requests from it, and the fence its jobs and forgotten processes; once the fence is down, nothing but this
/// keeps old code from the new schema. So no budget makes up for a node, and a quarantined one has to say so too. It stays
/// asked for after the lift: what is frozen is ended, and never thawed.
struct SilenceStep: StepDefinition {
    static let word = "nodes:silenced"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.databases.isEmpty ? [] : [SilenceStep(phase, index: nil)]
    }

    var title: String { "silence the old release" }
    let isProof = true

    func details(_ preview: StepPreview) -> [String] {
        ["its processes are frozen on every node, so that nothing of it writes on the new schema"]
    }

    func names(_ seat: Seat, in run: Run) -> Bool { !seat.isOff }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.silenced = run.releaseToSilence(on: seat.node)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        guard let old = run.releaseToSilence(on: seat.node) else { return .reached }
        guard let silence = status.silenced else { return .failed(SilenceStep.tooOld(status)) }
        if let failure = silence.failure { return .failed(failure) }
        return .reached(if: silence.release == old && silence.state == .silent)
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }

    /// An agent that does not know the question is found before anything is touched.
    static func refusal(_ status: NodeStatus, in run: Run) -> String? {
        !run.plan.databases.isEmpty && status.silenced == nil ? tooOld(status) : nil
    }

    private static func tooOld(_ status: NodeStatus) -> String {
        "its agent (\(status.agentVersion)) cannot silence the old release; install the sluice-agent of the coordinator's version"
    }
}

extension Step {
    public static let silenced = SilenceStep.step
}

extension Run {
    /// What may write no more on a node: the release that it served before, if that is another one. Without a database there is no
    /// schema that it could meet.
    func releaseToSilence(on node: NodeName) -> ReleaseReference? {
        guard !plan.databases.isEmpty else { return nil }
        return oldRelease(of: node).flatMap { $0 == created.release ? nil : $0 }
    }

    /// What a node silences by itself as soon as the new release answers there, so that the proof before the lift finds it so.
    ///
    /// Only where the proof follows the batches at once. Where people or the plan's own actions come between, the old release goes on
    /// until then: its streams are cut no sooner than they must be, and an action may have something to say to it.
    func releaseReplaced(on node: NodeName) -> ReleaseReference? {
        guard plan.rollout.bake == .zero, plan.goesOnAtOnce(from: .rollout, to: .verify) else {
            return nil
        }
        return releaseToSilence(on: node)
    }
}
