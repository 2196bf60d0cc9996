// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The application's own migration tool says, from the staged release, what it would do.
struct PreviewToolStep: ToolRunStep {
    static let word = "nodes:tool-previewed"
    static let touches = false
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    static func isPart(of tool: Plan.Tool) -> Bool { tool.preview != nil }

    func task(in run: Run) -> NodeTask? {
        tool(in: run.plan)?.preview.map {
            run.runOfTool(
                $0, at: self, number: run.tool(index).previews, ToolRun(unfenced: .preview))
        }
    }

    func node(in run: Run) -> NodeName? { run.toolNode(index) }

    var title: String { "have the migration tool say what it would do" }

    func title(in plan: Plan) -> String {
        title(in: plan, running: tool(in: plan)?.preview)
    }

    func details(_ preview: StepPreview) -> [String] {
        [
            "on \(preview.node(of: tool(in: preview.plan))), from the staged release: only there it can be asked"
        ]
    }

    /// A tool that cannot say it could hardly do it.
    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.on(task(in: run).map { [$0] } ?? [], in: status)
    }

    func overdue(_ pending: [NodeName], after span: Span, in run: Run) -> [RunEvent]? { nil }
}

extension Step {
    public static let toolPreviewed = PreviewToolStep.step
}
