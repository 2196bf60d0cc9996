// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// A step in which one node runs an action of the migration tool.
///
/// It is over when the action has ended, in whatever way, or when its time is. What it has done, only the database can say.
protocol ToolRunStep: StepDefinition {
    /// Whether the action's sessions go through the fence.
    static var needsPass: Bool { get }
    /// The run of the action that is under way, or comes next.
    static func task(in run: Run) -> NodeTask?
    /// Where it runs; `nil`: nothing is to be run, or nobody is there.
    static func node(in run: Run) -> NodeName?
}

extension ToolRunStep {
    static var asksWhileCurrent: Bool { true }
    static var needsPass: Bool { false }

    func database(in plan: Plan) -> DatabaseName? { plan.label(of: plan.toolDatabase) }

    /// A tool that fails says nothing against its node.
    func quarantines(in run: Run) -> Bool { false }
    func names(_ seat: Seat, in run: Run) -> Bool { seat.node == Self.node(in: run) }
    func named(in run: Run) -> [NodeName] { Self.node(in: run).map { [$0] } ?? [] }
    func lacksNodes(in run: Run) -> Bool {
        run.direction == .forward && Self.node(in: run) == nil
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, !run.isEnded, names(seat, in: run),
            let task = Self.task(in: run)
        else { return }
        if Self.needsPass { directive.pass = run.passGoal(for: task) }
        directive.tasks.append(task)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        .reached(if: Run.ending(of: Self.task(in: run), in: status) != nil)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        Run.ending(of: Self.task(in: run), in: status).map { [.toolEnded($0)] } ?? []
    }

    func allowance(in run: Run) -> Span? {
        run.plan.tool?.timeout ?? run.plan.deadline(of: phase)
    }

    func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]? {
        run.toolOverdue(Self.task(in: run), on: pending, after: span)
    }
}

extension StepPreview {
    /// Where the plan's tool runs, for people.
    var toolNode: String {
        let canary = batches.first?.sorted().first?.rawValue
        return plan.tool?.node?.rawValue ?? canary
            ?? "the first node of the canary's batch"
    }

    /// What follows when the tool fails halfway, for people.
    func ifPartly(orElse back: String) -> String {
        switch plan.tool?.onPartly {
        case .again: "it is run again, \(ClosePassStep.mostRuns) times in all"
        case .back: back
        case .person, nil: "the run waits for a person"
        }
    }
}
