// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the node makes a secret for the tool that undoes, and the fence lets in whoever shows it. Where nothing is
/// to be undone, nobody is let in.
struct OpenRevertPassStep: DatabaseStep, EachToolStep {
    static let kind = DatabaseTask.Kind.openRevertPass
    static let asksWhileCurrent = true
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "let the tool that undoes the migration through the fence" }

    func names(_ seat: Seat, in run: Run) -> Bool { named(in: run).contains(seat.node) }

    func named(in run: Run) -> [NodeName] {
        run.pass(for: run.toolRevertTask(index)) == nil ? nodes(in: run) : []
    }

    func lacksNodes(in run: Run) -> Bool { false }
    var audience: Audience { .everyMember }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, nodes(in: run).contains(seat.node) else { return }
        directive.pass = run.passGoal(for: run.toolRevertTask(index), on: seat.node)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.onPass(run.toolRevertTask(index), status, of: seat, in: run)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        let task = run.toolRevertTask(index)
        guard seat.node == run.toolNode(for: task, of: index) else { return [] }
        return run.offered(status, for: task, by: seat.node)
    }

    /// Nobody where nothing is to be undone.
    func nodes(in run: Run) -> [NodeName] {
        guard run.tool(index)[.switch].change?.isNone != true else { return [] }
        return run.toolNode(for: run.toolRevertTask(index), of: index).map { [$0] } ?? []
    }
}
