// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// A step in which one node runs an action of the migration tool.
///
/// It is over when the action has ended, in whatever way, or when its time is. What it has done, only the database can say.
protocol ToolRunStep: EachToolStep {
    /// Whether the action's sessions go through the fence.
    static var needsPass: Bool { get }
    /// The run of the action that is under way, or comes next.
    func task(in run: Run) -> NodeTask?
    /// The run of a tool whose pass the node is asked for meanwhile: this one, or the next that it will run.
    func passTask(in run: Run) -> NodeTask?
    /// Where it runs; `nil`: nothing is to be run, or nobody is there.
    func node(in run: Run) -> NodeName?
}

extension ToolRunStep {
    static var asksWhileCurrent: Bool { true }
    static var needsPass: Bool { false }
    func passTask(in run: Run) -> NodeTask? { task(in: run) }

    /// A tool that fails says nothing against its node.
    func quarantines(in run: Run) -> Bool { false }
    func names(_ seat: Seat, in run: Run) -> Bool { seat.node == node(in: run) }
    func named(in run: Run) -> [NodeName] { node(in: run).map { [$0] } ?? [] }
    func lacksNodes(in run: Run) -> Bool {
        run.direction == .forward && node(in: run) == nil
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, !run.isEnded, names(seat, in: run),
            let task = task(in: run)
        else { return }
        if Self.needsPass {
            directive.pass = run.passGoal(for: passTask(in: run), on: seat.node)
        }
        directive.tasks.append(task)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        .reached(if: ending(in: status, of: run) != nil)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        guard let ended = ending(in: status, of: run) else { return [] }
        let passes =
            Self.needsPass ? run.offered(status, for: passTask(in: run), by: seat.node) : []
        return [.toolEnded(ended)] + passes
    }

    private func ending(in status: NodeStatus, of run: Run) -> ToolEnded? {
        Run.ending(of: task(in: run), in: status, database(in: run.plan))
    }

    func allowance(in run: Run) -> Span? {
        tool(in: run.plan)?.timeout ?? run.plan.deadline(of: phase)
    }

    /// The tool's time is over: it is told to end, and the database says what it has done.
    func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]? {
        guard let task = task(in: run) else { return [] }
        let ended = ToolEnded(
            task: task.identity, state: .unknown, output: "it did not end within \(span)",
            database: database(in: run.plan))
        return [.toolEnded(ended)] + pending.map { .nodeReached(NodeFact(node: $0)) }
    }
}

extension StepPreview {
    /// Where a tool runs, for people.
    func node(of tool: Plan.Tool?) -> String {
        let canary = batches.first?.sorted().first?.rawValue
        return tool?.node?.rawValue ?? canary ?? "the first node of the canary's batch"
    }

    /// What follows when the tool fails halfway, for people.
    func ifPartly(_ tool: Plan.Tool?, orElse back: String) -> String {
        switch tool?.onPartly {
        case .again: "it is run again, \(ClosePassStep.mostRuns) times in all"
        case .back: back
        case .person, nil: "the run waits for a person"
        }
    }
}
