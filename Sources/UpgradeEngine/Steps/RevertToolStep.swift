// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the action that undoes what the tool has done, given what its ledger was before.
struct RevertToolStep: StepDefinition {
    static let word = "nodes:tool-reverted"
    static let asksWhileCurrent = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "undo what the migration tool has done" }

    func title(in plan: Plan) -> String {
        plan.database?.tool?.revert.map {
            "undo what the migration tool has done: the action \($0)"
        } ?? title
    }

    func quarantines(in run: Run) -> Bool { false }
    func names(_ seat: Seat, in run: Run) -> Bool { named(in: run).contains(seat.node) }
    func lacksNodes(in run: Run) -> Bool { false }

    /// Nobody where no pass is open, because nothing is to be undone.
    func named(in run: Run) -> [NodeName] {
        run.pass(for: run.toolRevertTask) == nil ? [] : OpenRevertPassStep.nodes(in: run)
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, !run.isEnded, names(seat, in: run),
            let task = run.toolRevertTask
        else { return }
        directive.pass = run.passGoal(for: task)
        directive.tasks.append(task)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        .reached(if: Run.ending(of: run.toolRevertTask, in: status) != nil)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        Run.ending(of: run.toolRevertTask, in: status).map { [.toolEnded($0)] } ?? []
    }

    func allowance(in run: Run) -> Span? {
        run.plan.database?.tool?.timeout ?? run.plan.deadline(of: phase)
    }

    func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]? {
        run.toolOverdue(run.toolRevertTask, on: pending, after: span)
    }
}

extension Step {
    public static let toolReverted = RevertToolStep.step
}
