// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The node of the application's own migration tool makes a secret, and the fence of its database lets in whoever shows it.
///
/// The first pass is made in preflight, so that it costs no round with writes closed, that of another tool while the one before it
/// runs; the next ones when they are needed. Like the migration, it waits for nodes that have joined since the others were braced.
struct OpenPassStep: BracedTask, EachToolStep {
    static let kind = DatabaseTask.Kind.openPass
    static let asksWhileCurrent = true
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "let the migration tool through the fence" }
    let isProof = true
    var audience: Audience { .everyMember }

    /// What becomes of the work of the tools before it, when this one fails.
    func details(_ preview: StepPreview) -> [String] {
        let plan = preview.plan
        let before = plan.toolIndices.prefix { $0 != index }
        func names(_ isWanted: (Plan.Tool) -> Bool) -> String? {
            let names = before.filter { plan.tool($0).map(isWanted) ?? false }
                .compactMap { plan.toolDatabase($0)?.name.rawValue }
            return names.isEmpty ? nil : Listed.text(names, separator: ", ")
        }
        let undone = names { $0.revert != nil }.map {
            "when it fails, the work of the tool of \($0) is undone as well"
        }
        let staying = names { $0.revert == nil }.map {
            "when it fails, what the tool of \($0) has done stays, for nothing undoes it: the run waits for a person"
        }
        return [undone, staying].compactMap { $0 }
    }

    private func needsPass(of node: NodeName, in run: Run) -> Bool {
        let task = run.toolTask(index)
        return run.pass(for: task) == nil && node == run.toolNode(for: task, of: index)
    }

    func isAwaited(_ seat: Seat, in run: Run) -> Bool {
        !seat.isOff && (!isBraced(seat, in: run) || needsPass(of: seat.node, in: run))
    }

    func lacksNodes(in run: Run) -> Bool { run.toolNode(index) == nil }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, seat.node == run.toolNode(index) else { return }
        directive.pass = run.passGoal(for: run.toolTask(index), on: seat.node)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        let braced = judgeBracing(status, of: seat, in: run)
        guard braced == .reached, seat.node == run.toolNode(index) else { return braced }
        return Verdict.onPass(run.toolTask(index), status, of: seat, in: run)
    }

    func facts(_ status: NodeStatus, of seat: Seat, in run: Run) -> [RunEvent] {
        guard seat.node == run.toolNode(index) else { return [] }
        return run.offered(status, for: run.toolTask(index), by: seat.node)
    }

    /// Whatever the tool has come to: its pass ends, and what it has changed is undone.
    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        if undoing.isPromoting { return [] }
        var steps: [any StepDefinition] = [SettlePassStep(phase, index: index)]
        if tool(in: undoing.plan)?.revert != nil {
            steps += [
                OpenRevertPassStep(phase, index: index), RevertToolStep(phase, index: index),
                CloseRevertPassStep(phase, index: index),
            ]
        }
        // Reads are held already where a later tool's work is undone first.
        guard case .hold = undoing.plan.reads, isLast(of: undoing) else { return steps }
        return [HoldReadsStep(phase, index: nil)] + steps
    }
}
