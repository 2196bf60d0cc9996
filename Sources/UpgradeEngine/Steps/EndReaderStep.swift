// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The old release on the standby is stopped and gone: nothing of it is there when the standby follows again.
struct EndReaderStep: StepDefinition {
    static let word = "nodes:reader-ended"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby == nil ? [] : [EndReaderStep(phase, index: nil)]
    }

    var title: String { "end the old release on the standby" }
    let isTidying = true

    func details(_ preview: StepPreview) -> [String] {
        Listed.line("actions", preview.plan.rollout.retire)
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let reader = run.reader(of: seat.node) else { return }
        directive.vacated = nil
        directive.tasks += run.endReaderTasks(of: seat.node)
        directive.unstage = reader
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        guard let reader = run.reader(of: seat.node) else { return .reached }
        if let failure = status.failure(of: .unstage) { return .failed(failure) }
        return Verdict.on(
            run.endReaderTasks(of: seat.node), in: status, and: !status.staged.contains(reader))
    }
}

extension Step {
    public static let readerEnded = EndReaderStep.step
}
