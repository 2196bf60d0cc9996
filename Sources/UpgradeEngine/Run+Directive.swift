// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

extension Run {
    /// What a node should be, now: its base, and then what each step asks that has begun and is not undone, in their order. Epoch and
    /// revision are the caller's.
    ///
    /// - Returns: `nil` for a node that is not of this run.
    public func directive(for node: NodeName) -> Directive? {
        guard let seat = seat(of: node) else { return nil }
        var directive = base(of: seat)
        for step in asking {
            if direction == .forward {
                step.ask(&directive, of: seat, in: self)
            } else {
                step.askUntilUndone(&directive, of: seat, in: self)
            }
        }
        for step in askingBack { step.ask(&directive, of: seat, in: self) }
        holdUntilFlip(&directive, of: seat)
        return directive
    }

    /// What a node is asked before any step has begun. One that is not what the run says lets nothing through that writes.
    private func base(of seat: Seat) -> Directive {
        var directive = Directive(
            epoch: .zero, revision: 0, run: identifier,
            lease: Lease(duration: plan.lease, onExpiry: .open), pace: plan.writes.pace)
        if seat.isQuarantined {
            directive.service = .out
            directive.writes = .refuse(
                retryAfter: plan.writes.retryAfter,
                message: "this node is being upgraded; try again")
        }
        return directive
    }
}
