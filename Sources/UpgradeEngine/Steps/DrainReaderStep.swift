// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Nobody reads from the standby any more: it may follow again without cutting anybody off.
struct DrainReaderStep: StepDefinition {
    static let word = "nodes:reader-drained"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby == nil ? [] : [DrainReaderStep(phase, index: nil)]
    }

    var title: String { "drain the readers of the standby" }
    /// Whoever reads for longer is cut off.
    let isTidying = true

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        if let reader = run.reader(of: seat.node) { directive.vacated = reader }
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        guard let reader = run.reader(of: seat.node) else { return .reached }
        return .reached(if: status.hasVacated(reader))
    }

    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }
}

extension Step {
    public static let readerDrained = DrainReaderStep.step
}
