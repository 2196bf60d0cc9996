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

    func names(_ seat: Seat, in run: Run) -> Bool { !seat.isOff }

    /// A node that was left behind and says nothing keeps the run from its window: nobody could prove of it that it lets no write
    /// through, and writers would be held for nothing.
    func objection(seeing observations: Observations, at now: Instant, in run: Run) -> Objection? {
        guard run.direction == .forward else { return nil }
        let silent = run.members.keys.sorted().filter { node in
            guard let seat = run.seat(of: node), seat.isQuarantined, !seat.isOff else {
                return false
            }
            return observations.isSilent(node, at: now, since: run.ledSince)
        }
        guard let first = silent.first else { return nil }
        let names = Listed.text(silent.map(\.rawValue), separator: ", ")
        return Objection(
            reason:
                "the window is not begun: nothing is heard from \(names), so nobody knows whether an old release serves there",
            advice: run.waysAround([first]), asks: false)
    }

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
    /// Whether a gate lets no write through, as it says and as a write through its proxy says. Of a quarantined node nothing else is
    /// asked, and it is given its time.
    static func onClosedGate(_ status: NodeStatus, of seat: Seat, and isMore: Bool = true)
        -> Verdict
    {
        let isClosed =
            status.breakGlass == nil && status.gate.writes != .open && status.gate.isProved
        if seat.isQuarantined { return .reached(if: isClosed && isMore) }
        if let reason = status.breakGlass {
            return .failed("its gate was opened by hand: \(reason)")
        }
        if let failure = status.failure(of: .gate) { return .failed(failure) }
        if let failure = status.gate.disproof { return .failed(failure) }
        return .reached(if: isClosed && isMore)
    }
}
