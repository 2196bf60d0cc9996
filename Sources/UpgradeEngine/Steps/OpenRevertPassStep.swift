// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the node makes a secret for the tool that undoes, and the fence lets in whoever shows it. Where nothing is
/// to be undone, nobody is let in.
struct OpenRevertPassStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.openRevertPass
    static let asksWhileCurrent = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "let the tool that undoes the migration through the fence" }

    func names(_ seat: Seat, in run: Run) -> Bool {
        run.pass(for: run.toolRevertTask) == nil
            && OpenRevertPassStep.nodes(in: run).contains(seat.node)
    }

    func named(in run: Run) -> [NodeName] {
        run.pass(for: run.toolRevertTask) == nil ? OpenRevertPassStep.nodes(in: run) : []
    }

    func lacksNodes(in run: Run) -> Bool { false }
    var audience: Audience { .everyMember }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, OpenRevertPassStep.nodes(in: run).contains(seat.node)
        else { return }
        directive.pass = run.passGoal(for: run.toolRevertTask)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.onPass(run.toolRevertTask, status, of: seat, in: run)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        run.offered(status, of: seat)
    }

    /// Nobody where nothing is to be undone.
    static func nodes(in run: Run) -> [NodeName] {
        guard run.tool[.switch].change?.isNone != true else { return [] }
        return run.toolNode(for: run.toolRevertTask).map { [$0] } ?? []
    }
}
