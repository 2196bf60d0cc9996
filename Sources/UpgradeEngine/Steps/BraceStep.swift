// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Every node stays closed without the coordinator, and holds reads if the plan says so.
///
/// A node that has not said so might serve the old release on the new schema.
struct BraceStep: StepDefinition {
    static let word = "nodes:braced"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "brace the nodes for the migration" }
    let isProof = true
    static let isSaidAnew = true
    func details(_ preview: StepPreview) -> [String] { preview.heldReads }
    func names(_ seat: Seat, in run: Run) -> Bool { !seat.isOff }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.lease.onExpiry = .keep
        if let hold = run.readHold {
            directive.reads = ReadAdmission(hold: hold, until: run.forwardActivation)
        }
    }

    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.lease.onExpiry = .keep
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        BraceStep.judge(status, of: seat, in: run)
    }

    /// The steps in which a node says so: this one, and the tasks that wait for it.
    fileprivate static let saidIn: Set<String> = Set(
        [word] + StepCatalog.kinds.values.filter { $0 is any BracedTask.Type }.map { $0.word })

    fileprivate static func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        let isHolding = seat.isQuarantined || run.isHoldingReads(status)
        return Verdict.onClosedGate(status, of: seat, and: status.lease == .keep && isHolding)
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }
}

/// A task that may change the schema: it waits for whoever has not been braced, a node that has joined since then.
protocol BracedTask: NodeAwaitingTask {}

extension BracedTask {
    func isAwaited(_ seat: Seat, in run: Run) -> Bool {
        !seat.isOff && !isBraced(seat, in: run)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        judgeBracing(status, of: seat, in: run)
    }

    func judgeBracing(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        BraceStep.judge(status, of: seat, in: run)
    }

    /// Whether a node has said that it is.
    func isBraced(_ seat: Seat, in run: Run) -> Bool {
        run.proved.contains {
            $0.value.contains(seat.node) && BraceStep.saidIn.contains($0.key.word)
        }
    }
}

extension Step {
    public static let braced = BraceStep.step
}

extension StepPreview {
    var heldReads: [String] {
        if case .hold(let span, let count) = plan.reads {
            [
                "reads are held for \(span) at most, \(count) a node, until the release that fits the schema answers there"
            ]
        } else if plan.isDatabaseSwitched, let hold = plan.switchHold {
            [
                "reads are served throughout, by the old release on the standby; while a node switches they are held for \(hold.span) at most, "
                    + "\(hold.atMost) a node"
            ]
        } else if plan.frozenStandby != nil {
            ["reads are served throughout, by the old release on the standby"]
        } else {
            ["reads are served throughout"]
        }
    }
}

extension Run {
    /// Whether no request that reads is in an application's hands, where the plan asks for that.
    func isHoldingReads(_ status: NodeStatus) -> Bool {
        readHold == nil || (status.gate.readsHeld && status.gate.readsSettled)
    }
}
