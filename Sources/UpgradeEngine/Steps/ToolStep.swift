// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The application's own migration tool runs, on one node, from the staged release.
///
/// The step is over when the tool has ended, in whatever way, or when its time is. What it has done, only the database can say.
struct ToolStep: StepDefinition {
    static let word = "nodes:tool"
    static let asksWhileCurrent = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.database?.tool == nil ? [] : [ToolStep(phase, index: nil)]
    }

    var title: String { "run the migration tool" }

    func title(in plan: Plan) -> String {
        plan.database?.tool.map { "run the migration tool: the action \($0.action)" } ?? title
    }

    func details(_ preview: StepPreview) -> [String] {
        guard let tool = preview.plan.database?.tool else { return [] }
        let canary = preview.batches.first?.sorted().first?.rawValue
        let node = tool.node?.rawValue ?? canary ?? "the first node of the canary's batch"
        let partly: String =
            switch tool.onPartly {
            case .again: "it is run again, \(ClosePassStep.mostRuns) times in all"
            case .back: "the run turns back"
            case .person: "the run waits for a person"
            }
        let back =
            tool.revert.map { "undone by the action \($0)" }
            ?? "nothing undoes it: once it has changed the database, the run turns back no more by itself"
        return ["on \(node), once", "if it fails halfway, \(partly)", back]
    }

    /// A tool that fails says nothing against its node.
    func quarantines(in run: Run) -> Bool { false }
    func names(_ seat: Seat, in run: Run) -> Bool { seat.node == run.toolNode }
    func named(in run: Run) -> [NodeName] { run.toolNode.map { [$0] } ?? [] }
    func lacksNodes(in run: Run) -> Bool { run.toolNode == nil }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, !run.isEnded, names(seat, in: run),
            let task = run.toolTask
        else { return }
        directive.pass = run.passGoal(for: task)
        directive.tasks.append(task)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        .reached(if: Run.ending(of: run.toolTask, in: status) != nil)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        Run.ending(of: run.toolTask, in: status).map { [.toolEnded($0)] } ?? []
    }

    func allowance(in run: Run) -> Span? {
        run.plan.database?.tool?.timeout ?? run.plan.deadline(of: phase)
    }

    func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]? {
        run.toolOverdue(run.toolTask, on: pending, after: span)
    }
}

extension Step {
    public static let tool = ToolStep.step
}
