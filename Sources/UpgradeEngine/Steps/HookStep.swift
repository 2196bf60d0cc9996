// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// A named action beside a phase, on the nodes that the plan says.
struct HookStep: StepDefinition {
    static let word = "hook"
    static let isCounted = true
    static let asksWhileCurrent = true
    let phase: Phase
    let hook: Int

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        hook = index ?? 0
    }

    /// A hook that fails fails its phase.
    func quarantines(in run: Run) -> Bool { false }
    var step: Step { .hook(hook) }
    var title: String { "run hook \(hook + 1)" }

    func title(in plan: Plan) -> String {
        guard plan.hooks.indices.contains(hook) else { return title }
        let hook = plan.hooks[self.hook]
        let target =
            switch hook.target {
            case .everyNode: "every node"
            case .oneNode: "one node"
            case .node(let name): name.rawValue
            }
        return "run the action \(hook.action) on \(target)"
    }

    func details(_ preview: StepPreview) -> [String] {
        let hook = preview.plan.hooks[self.hook]
        return ["\(hook.timing.rawValue) \(hook.phase)"]
    }

    /// One node stays the same node for as long as the hook runs.
    func names(_ seat: Seat, in run: Run) -> Bool {
        guard !seat.isQuarantined else { return false }
        return switch run.plan.hooks[hook].target {
        case .everyNode: true
        case .oneNode: run.current?.named.contains(seat.node) == true
        case .node(let name): name == seat.node
        }
    }

    func named(in run: Run) -> [NodeName] {
        switch run.plan.hooks[hook].target {
        case .everyNode: run.participants
        case .oneNode: Array(run.participants.prefix(1))
        case .node(let name): run.isParticipant(name) ? [name] : []
        }
    }

    func lacksNodes(in run: Run) -> Bool { named(in: run).isEmpty }

    /// No longer than its step.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard run.current?.step == step, !run.isEnded, names(seat, in: run) else { return }
        directive.tasks.append(run.hookTask(hook))
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.on([run.hookTask(hook)], in: status)
    }

    /// What ran behind the fence is undone once that is down, and before the gates open.
    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        let isFenced = undoing.hasBegun(RaiseFenceStep.self)
        if isFenced, HookStep.isBehindFence(undoing.plan.hooks[hook]) { return [] }
        return HookUndoStep.steps(undoing: hook, of: undoing.plan)
    }

    static func undoBehindFence(_ undoing: Undoing) -> [any StepDefinition] {
        let hooks = undoing.plan.hooks
        return hooks.indices.reversed().filter {
            undoing.begun.contains(.hook($0)) && isBehindFence(hooks[$0])
        }.flatMap { HookUndoStep.steps(undoing: $0, of: undoing.plan) }
    }

    private static func isBehindFence(_ hook: Plan.Hook) -> Bool {
        hook.phase > .drain || (hook.phase == .drain && hook.timing == .after)
    }
}

extension Step {
    public static func hook(_ index: Int) -> Step { Step(HookStep.word, index) }
}
