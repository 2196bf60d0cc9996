// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Undoes a hook on the nodes on which it has begun: what it paused goes on.
///
/// On the way forward where the plan says `until`: after verify, between the lowered fence and the open gates, or once these are open;
/// on the way back whenever the hook has begun, whether it ended or not. A node that is not there is told when it returns.
struct HookUndoStep: StepDefinition {
    static let word = "hook-undo"
    static let isCounted = true
    let phase: Phase
    let hook: Int

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        hook = index ?? 0
    }

    /// After the work of a phase: those that last until then.
    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        Plan.Hook.Until(rawValue: phase.rawValue).map { steps(until: $0, in: phase, of: plan) }
            ?? []
    }

    /// The last one first.
    static func steps(until end: Plan.Hook.Until, in phase: Phase, of plan: Plan)
        -> [any StepDefinition]
    {
        plan.hooks.indices.reversed().filter {
            plan.hooks[$0].until == end && plan.hooks[$0].undo != nil
        }.map { HookUndoStep(phase, index: $0) }
    }

    /// On the way back.
    static func steps(undoing hook: Int, of plan: Plan) -> [any StepDefinition] {
        plan.hooks[hook].undo == nil ? [] : [HookUndoStep(plan.hooks[hook].phase, index: hook)]
    }

    var step: Step { .hookUndo(hook) }
    var title: String { "undo hook \(hook + 1)" }

    func title(in plan: Plan) -> String {
        guard plan.hooks.indices.contains(hook), let undo = plan.hooks[hook].undo else {
            return title
        }
        return "run the action \(undo), which undoes \(plan.hooks[hook].action)"
    }

    func names(_ seat: Seat, in run: Run) -> Bool {
        !seat.isQuarantined && hasBegun(on: seat, in: run)
    }

    func lacksNodes(in run: Run) -> Bool { false }

    /// Nothing is lost by turning back before the fence is down, nor by stopping once the gates are open; between the two, and on the
    /// way back, everybody waits for one node. It stays out of service until it has done it.
    func quarantines(in run: Run) -> Bool {
        run.direction == .back || run.plan.hooks[hook].until == .fence
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard hasBegun(on: seat, in: run), let task = run.hookUndoTask(hook) else { return }
        directive.tasks.append(task)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.on(run.hookUndoTask(hook).map { [$0] } ?? [], in: status)
    }

    private func hasBegun(on seat: Seat, in run: Run) -> Bool {
        run.hookTargets[hook]?.contains(seat.node) == true
    }
}

extension Step {
    public static func hookUndo(_ index: Int) -> Step { Step(HookUndoStep.word, index) }
}

extension NodeTask {
    /// Whether it undoes a hook: it stays asked for until it is done, whatever else is.
    var undoesHook: Bool { identity.rawValue.contains("/\(HookUndoStep.word).") }
}

extension Run {
    /// What hooks have done and nothing has undone yet, for people: `pause-jobs on web-1, web-2, until resume-jobs`.
    public var stillPaused: [String] {
        hookTargets.keys.sorted().compactMap { index in
            let hook = plan.hooks[index]
            guard let undo = hook.undo, !isOver(.hookUndo(index)) else { return nil }
            // Without `until` only a way back undoes it: what it did was to last.
            if hook.until == nil, standing == .ended(.done) { return nil }
            let names = hookTargets[index, default: []].sorted().map(\.rawValue)
            let nodes = Listed.text(names, separator: ", ")
            return "\(hook.action) on \(nodes), until \(undo) undoes it"
        }
    }

    /// What a node has to have undone before its gate may open: of hooks that last until the fence is down.
    func undoneAtFence(on node: NodeName) -> [NodeTask] {
        plan.hooks.indices.filter {
            plan.hooks[$0].until == .fence && begun.contains(.hookUndo($0))
                && hookTargets[$0]?.contains(node) == true
        }.compactMap { hookUndoTask($0) }
    }

    private func isOver(_ step: Step) -> Bool {
        let hasBegun = direction == .forward ? begun.contains(step) : begunBack.contains(step)
        return hasBegun && (current?.step != step || isEnded)
    }
}
