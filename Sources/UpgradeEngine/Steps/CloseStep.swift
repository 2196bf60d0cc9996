// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The gate is closed to writes, on every node: also on a quarantined one, which might serve the old release.
struct CloseStep: StepDefinition {
    static let word = "nodes:closed"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "close the gates" }
    let isProof = true

    func details(_ preview: StepPreview) -> [String] {
        let writes = preview.plan.writes
        return switch writes.admission {
        case .hold(let count, let span):
            [
                "writes are held for \(span) at most, \(count) a node; more get 503, Retry-After \(writes.retryAfter)"
            ]
        case .refuse: ["writes get 503, Retry-After \(writes.retryAfter)"]
        }
    }

    func names(_ seat: Seat, in run: Run) -> Bool { true }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        if !seat.isQuarantined { directive.writes = run.admission }
    }

    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        ask(&directive, of: seat, in: run)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.onClosedGate(status, of: seat)
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] { [OpenStep(.readOnly, index: nil)] }
}

extension Step {
    public static let closed = CloseStep.step
}

extension Verdict {
    /// Whether a gate lets no write through. Of a quarantined node nothing else is asked, and it is given its time.
    static func onClosedGate(_ status: NodeStatus, of seat: Seat, and isMore: Bool = true)
        -> Verdict
    {
        let isClosed = status.breakGlass == nil && status.gate.writes != .open
        if seat.isQuarantined { return .reached(if: isClosed && isMore) }
        if let reason = status.breakGlass {
            return .failed("its gate was opened by hand: \(reason)")
        }
        if let failure = status.failure(of: .gate) { return .failed(failure) }
        return .reached(if: isClosed && isMore)
    }
}
