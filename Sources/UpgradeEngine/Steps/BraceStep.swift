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

    static func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        let isHolding = seat.isQuarantined || run.isHoldingReads(status)
        return Verdict.onClosedGate(status, of: seat, and: status.lease == .keep && isHolding)
    }

    /// Whether a node has said so: in this step, or in one that changes the schema and waits for those that have joined since.
    static func isProved(by node: NodeName, in run: Run) -> Bool {
        [step, MigrateStep.step, OpenPassStep.step].contains {
            run.proved[$0]?.contains(node) == true
        }
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }
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
