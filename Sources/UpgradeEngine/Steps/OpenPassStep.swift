// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The node of the application's own migration tool makes a secret, and the fence lets in whoever shows it.
///
/// The first pass is made in preflight, so that it costs no round with writes closed; the next ones when they are needed. Like
/// the migration, it waits for nodes that have joined since the others were braced.
struct OpenPassStep: BracedTask {
    static let kind = DatabaseTask.Kind.openPass
    static let asksWhileCurrent = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool == nil ? [] : [OpenPassStep(phase, index: nil)]
    }

    var title: String { "let the migration tool through the fence" }
    let isProof = true
    var audience: Audience { .everyMember }

    func isAwaited(_ seat: Seat, in run: Run) -> Bool {
        !seat.isOff
            && (!isBraced(seat, in: run)
                || run.pass(for: run.toolTask) == nil && seat.node == run.toolNode)
    }

    func lacksNodes(in run: Run) -> Bool { run.toolNode == nil }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, seat.node == run.toolNode else { return }
        directive.pass = run.passGoal(for: run.toolTask)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        let braced = judgeBracing(status, of: seat, in: run)
        guard braced == .reached, seat.node == run.toolNode else { return braced }
        return Verdict.onPass(run.toolTask, status, of: seat, in: run)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        run.offered(status, of: seat)
    }

    /// Whatever the tool has come to: its pass ends, and what it has changed is undone.
    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        if undoing.isPromoting { return [] }
        var steps: [any StepDefinition] = [SettlePassStep(phase, index: nil)]
        if undoing.plan.tool?.revert != nil {
            steps += [
                OpenRevertPassStep(phase, index: nil), RevertToolStep(phase, index: nil),
                CloseRevertPassStep(phase, index: nil),
            ]
        }
        guard case .hold = undoing.plan.reads else { return steps }
        return [HoldReadsStep(phase, index: nil)] + steps
    }
}

extension Step {
    static let openPass = OpenPassStep.step
}

extension Verdict {
    /// Whether a node has made the pass that it is asked for.
    static func onPass(
        _ task: NodeTask?, _ status: NodeStatus, of seat: Seat, in run: Run
    ) -> Verdict {
        guard let pass = status.pass else {
            return .unfit(
                "its agent (\(status.agentVersion)) cannot let a migration tool through the fence; install the sluice-agent of the coordinator's version"
            )
        }
        guard pass.task == task?.identity else { return .notYet }
        if let problem = pass.problem { return .unfit(problem) }
        return .reached(if: pass.digest != nil)
    }
}

extension Run {
    /// The pass that a node has made, once.
    func offered(_ status: NodeStatus, of seat: Seat) -> [RunEvent] {
        guard let pass = status.pass, pass.digest != nil, seat.node == passNode,
            tool.offer?.pass != pass || tool.offer?.node != seat.node
        else { return [] }
        return [.passOffered(PassOffered(node: seat.node, pass: pass))]
    }

    /// The node that is asked for a pass now.
    private var passNode: NodeName? {
        toolNode(for: direction == .forward ? toolTask : toolRevertTask)
    }
}
