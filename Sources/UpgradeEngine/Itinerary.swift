// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
public import UpgradePlan

/// The steps of a run in their order: computed from the plan, so that what `plan` shows is what `apply` does.
public enum Itinerary {
    /// All steps from preflight to finish.
    ///
    /// - Parameter batches: how many batches the rollout has, the canary included.
    public static func forward(_ plan: Plan, batches: Int) -> [PlannedStep] {
        Phase.allCases.flatMap { phase in
            approval(of: phase, in: plan)
                + hooks(.before, phase, in: plan)
                + work(of: phase, in: plan, batches: batches)
                + hooks(.after, phase, in: plan)
        }
    }

    /// The steps that undo what may have begun, in reverse order.
    ///
    /// - Parameter begun: every forward step that has begun, whether it ended or not.
    public static func back(_ plan: Plan, begun: Set<Step>) -> [PlannedStep] {
        var steps: [PlannedStep] = []
        let migrated = begun.contains(.database(.migrate))
        let activated = begun.contains(.nodes(.upgraded(batch: 0)))
        let revert = PlannedStep(.migrate, .database(.revertMigrate))
        let reactivate = PlannedStep(.rollout, .nodes(.reactivated))
        if case .hold = plan.reads, migrated {
            // Neither release survives the other's schema: nobody reads while it changes back.
            steps +=
                [PlannedStep(.migrate, .nodes(.readsHeld)), revert]
                + (activated ? [reactivate] : [])
        } else {
            steps += (activated ? [reactivate] : []) + (migrated ? [revert] : [])
        }
        if begun.contains(.database(.raiseFence)) {
            steps.append(PlannedStep(.drain, .database(.lowerFence)))
        }
        if begun.contains(.nodes(.closed)) { steps.append(PlannedStep(.readOnly, .nodes(.opened))) }
        if begun.contains(.database(.expand)) {
            steps.append(PlannedStep(.stage, .database(.revertExpand)))
        }
        if begun.contains(.nodes(.staged)) { steps.append(PlannedStep(.stage, .nodes(.unstaged))) }
        return steps
    }

    private static func approval(of phase: Phase, in plan: Plan) -> [PlannedStep] {
        plan.approvals.contains(phase) ? [PlannedStep(phase, .approval(phase))] : []
    }

    private static func hooks(_ moment: Plan.Hook.Moment, _ phase: Phase, in plan: Plan)
        -> [PlannedStep]
    {
        plan.hooks.indices
            .filter { plan.hooks[$0].moment == moment && plan.hooks[$0].phase == phase }
            .map { PlannedStep(phase, .hook($0)) }
    }

    private static func work(of phase: Phase, in plan: Plan, batches: Int) -> [PlannedStep] {
        let steps: [Step] =
            switch phase {
            case .preflight: [.nodes(.present), .database(.preflight)]
            case .stage: [.nodes(.staged), .database(.expand)]
            case .readOnly: [.nodes(.closed)]
            // The fence goes up once writes in flight have ended: nobody's write is cut off by it without need.
            case .drain: [.nodes(.drained), .database(.raiseFence), .database(.census)]
            case .migrate: [.nodes(.braced), .database(.migrate)]
            case .rollout: rollout(plan, batches: batches)
            case .verify: [.nodes(.verified)]
            case .lift: [.database(.lowerFence), .nodes(.opened)]
            case .finish: [.database(.contract), .nodes(.retired)]
            }
        return steps.filter { step in
            if case .database = step { return plan.database != nil }
            return true
        }.map { PlannedStep(phase, $0) }
    }

    private static func rollout(_ plan: Plan, batches: Int) -> [Step] {
        (0..<batches).flatMap { batch -> [Step] in
            let bakes = plan.rollout.bake > .zero && batch + 1 < batches
            return [.nodes(.upgraded(batch: batch))] + (bakes ? [.bake(batch: batch)] : [])
        }
    }
}
