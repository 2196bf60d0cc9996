// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The gate is open. Whatever was asked for the write window is asked no more.
struct OpenStep: StepDefinition {
    static let word = "nodes:opened"
    static let endsWayBack = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    /// What lasts for as long as the fence stands is undone just before.
    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        HookUndoStep.steps(until: .fence, in: phase, of: plan) + [OpenStep(phase, index: nil)]
    }

    var title: String { "open the gates" }

    /// A node that is not what the run says stays closed, and stays so by itself.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        // The fence is down: whoever reads there may write a session.
        directive.sessions = nil
        guard !seat.isQuarantined else { return }
        directive.writes = .open
        directive.reads = .pass
        directive.lease.onExpiry = .open
        directive.health = nil
        directive.vacated = nil
        directive.tasks.removeAll { $0.timing == .beforeActivation }
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let failure = status.failure(of: .gate) { return .failed(failure) }
        let gate = status.gate
        return .reached(if: gate.writes == .open && !gate.readsHeld && gate.sessionsHeld != true)
    }
}

extension Step {
    public static let opened = OpenStep.step
}
