// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The application's own migration tool says, from the staged release, what it would do.
struct PreviewToolStep: ToolRunStep {
    static let word = "nodes:tool-previewed"
    static let touches = false
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool?.preview == nil ? [] : [PreviewToolStep(phase, index: nil)]
    }

    static func task(in run: Run) -> NodeTask? {
        run.plan.tool?.preview.map {
            run.runOfTool($0, at: step, number: run.tool.previews, ToolRun(unfenced: .preview))
        }
    }

    static func node(in run: Run) -> NodeName? { run.toolNode }

    var title: String { "have the migration tool say what it would do" }

    func title(in plan: Plan) -> String {
        plan.tool?.preview.map { "\(title): the action \($0)" } ?? title
    }

    func details(_ preview: StepPreview) -> [String] {
        ["on \(preview.toolNode), from the staged release: only there it can be asked"]
    }

    /// A tool that cannot say it could hardly do it.
    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.on(Self.task(in: run).map { [$0] } ?? [], in: status)
    }

    func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]? { nil }
}

extension Step {
    public static let toolPreviewed = PreviewToolStep.step
}
