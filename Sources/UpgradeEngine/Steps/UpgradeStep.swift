// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// A batch serves the new release, its actions done, its caches flushed, and is healthy. The first batch is the canary.
struct UpgradeStep: StepDefinition {
    static let word = "nodes:upgraded"
    static let isCounted = true
    let phase: Phase
    let batch: Int

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        batch = index ?? 0
    }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        (0..<batches).flatMap { batch -> [any StepDefinition] in
            let bakes = plan.rollout.bake > .zero && batch + 1 < batches
            return [UpgradeStep(phase, index: batch)]
                + (bakes ? [BakeStep(phase, index: batch)] : [])
        }
    }

    var step: Step { .upgraded(batch: batch) }
    var title: String { batch == 0 ? "upgrade the canary" : "upgrade batch \(batch + 1)" }

    func details(_ preview: StepPreview) -> [String] {
        let rollout = preview.plan.rollout
        return [preview.nodes(of: batch)] + Listed.line("actions", rollout.actions)
            + Listed.line("flush caches", rollout.caches) + [preview.health]
    }

    func names(_ seat: Seat, in run: Run) -> Bool {
        !seat.isQuarantined && seat.member.batch == batch
    }

    func named(in run: Run) -> [NodeName] {
        run.batches.indices.contains(batch) ? run.batches[batch].filter(run.isParticipant) : []
    }

    func lacksNodes(in run: Run) -> Bool { !run.hasParticipants }

    /// The first batch is also the word for nodes that are upgraded outside the batches.
    var audience: Audience { batch == 0 ? .everyMember : .named }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        let member = seat.member
        let isExtra = seat.isQuarantined || member.batch == nil || member.isUpgradedExtra
        // Batches begin in order, and of all that have begun the last one answers.
        guard isExtra || (member.batch ?? 0) <= batch else { return }
        directive.active = ActivationGoal(
            release: run.created.release, identity: run.forwardActivation)
        let own = member.batch ?? 0
        directive.tasks += isExtra ? run.extraTasks : run.upgradeTasks(own)
        directive.health = isExtra ? run.extraHealth : run.upgradeHealth(own)
        if let hold = run.switchHold {
            directive.reads = ReadAdmission(hold: hold, until: run.forwardActivation)
        }
        if !isExtra { directive.replaced = run.releaseReplaced(on: seat.node) }
    }

    /// Until the old schema is back, an upgraded node goes on with what it serves.
    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let own = seat.member.batch, own <= batch,
            !run.hasCompletedBack(ReactivateStep.step)
        else { return }
        directive.active = ActivationGoal(
            release: run.created.release, identity: run.forwardActivation)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        seat.member.isUpgradedExtra
            ? run.upgradeVerdict(status, health: run.extraHealth, tasks: run.extraTasks)
            : run.upgradeVerdict(
                status, health: run.upgradeHealth(batch), tasks: run.upgradeTasks(batch))
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        // Where the old release reads from a standby, what it is served on next decides when.
        if undoing.plan.frozenStandby != nil { return [] }
        // Where neither release survives the other's schema, the schema goes back first.
        if case .hold = undoing.plan.reads, undoing.hasBegun(MigrateStep.self) { return [] }
        return batch == 0 ? UpgradeStep.undoOfRollout(undoing) : []
    }

    static func undoOfRollout(_ undoing: Undoing) -> [any StepDefinition] {
        undoing.begun.contains(.upgraded(batch: 0)) ? [ReactivateStep(.rollout, index: nil)] : []
    }
}

extension Step {
    public static func upgraded(batch: Int) -> Step { Step(UpgradeStep.word, batch) }
}

extension StepPreview {
    func nodes(of batch: Int) -> String {
        guard batches.indices.contains(batch) else {
            let rollout = plan.rollout
            let size = batch == 0 ? "\(rollout.canary)" : "\(rollout.batches[batch - 1])"
            let isLast = batch > 0 && batch == rollout.batches.count
            return "size \(size)" + (isLast ? ", again and again until no node is left" : "")
        }
        let names = batches[batch].map(\.rawValue)
        return names.count <= 8
            ? names.joined(separator: " ")
            : names.prefix(7).joined(separator: " ") + " … \(names.count) nodes"
    }

    var health: String {
        let health = plan.rollout.health
        return
            "health check \(health.check), \(health.consecutive) in a row, within \(health.deadline)"
    }
}
