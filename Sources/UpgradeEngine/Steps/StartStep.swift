// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The new release runs on the new schema, beside the old one and on all nodes at once, and answers at its own socket; no node
/// has flipped yet.
///
/// For a release that cannot start on the old schema. Nothing of the old release is started: it serves readers as it was, or they
/// are held.
struct StartStep: StepDefinition {
    static let word = "nodes:started"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.startsAfterMigration ? [StartStep(phase, index: nil)] : []
    }

    var title: String { "start the new release" }

    func details(_ preview: StepPreview) -> [String] {
        let rollout = preview.plan.rollout
        let checks = [rollout.health.check] + rollout.startChecks
        return ["on all nodes at once, beside the old release"]
            + Listed.line("start with", rollout.warm)
            + [
                "asked at its own socket: \(checks.map(\.rawValue).joined(separator: ", ")), "
                    + "\(rollout.health.consecutive) in a row, within \(rollout.health.deadline)"
            ]
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.tasks += run.startTasks
        directive.health = run.startHealth
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        let goal = run.startHealth
        let isHealthy =
            status.health?.identity == goal.identity && status.health?.state == .healthy
        return Verdict.on(run.startTasks, in: status, and: isHealthy)
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        if undoing.plan.frozenStandby != nil { return [] }
        // Where reads are held for the migration, the schema and the old release come back first.
        if case .hold = undoing.plan.reads { return [] }
        return HaltStep.undoOfStart(undoing)
    }
}

extension Step {
    public static let started = StartStep.step
}
