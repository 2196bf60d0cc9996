// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the old release is served.
struct ReactivateStep: StepDefinition {
    static let word = "nodes:reactivated"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "reactivate the old release" }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let old = run.oldRelease(of: seat.node) else { return }
        directive.active = ActivationGoal(release: old, identity: run.backActivation)
        if let hold = run.readHold {
            directive.reads = ReadAdmission(hold: hold, until: run.backActivation)
        }
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let failure = status.failure(of: .activate) { return .failed(failure) }
        if let failure = status.silenced?.failure { return .failed(failure) }
        // What was silenced goes on before it serves again.
        let isThawed = status.silenced.map { $0.state == .idle } ?? true
        return .reached(if: isThawed && run.isReactivated(seat.node, status))
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }
}

extension Step {
    public static let reactivated = ReactivateStep.step
}
