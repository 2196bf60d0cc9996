// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the new release, which was started on the new schema, may write no more.
///
/// It has come up behind the fence, and once that is down its threads and timers would write to the old schema. It is frozen
/// now, and ended when the gates open.
struct HaltStep: StepDefinition {
    static let word = "nodes:halted"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "halt the new release" }

    func details(_ preview: StepPreview) -> [String] {
        ["its processes are frozen on every node, so that nothing of it writes on the old schema"]
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        if let release = run.releaseToHalt(on: seat.node) { directive.silenced = release }
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        guard let release = run.releaseToHalt(on: seat.node) else { return .reached }
        if let failure = status.silenced?.failure { return .failed(failure) }
        let silence = status.silenced
        return .reached(if: silence?.release == release && silence?.state == .silent)
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }

    static func undoOfStart(_ undoing: Undoing) -> [any StepDefinition] {
        undoing.begun.contains(.started) ? [HaltStep(.rollout, index: nil)] : []
    }
}

extension Step {
    public static let halted = HaltStep.step
}

extension Run {
    /// The new release, unless the node served it already before the run.
    fileprivate func releaseToHalt(on node: NodeName) -> ReleaseReference? {
        oldRelease(of: node) == created.release ? nil : created.release
    }
}
