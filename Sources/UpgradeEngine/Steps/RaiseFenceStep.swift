// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Puts the write block up in the database.
struct RaiseFenceStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.raiseFence
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "raise the fence" }
    func atOnce(in plan: Plan) -> Int { Databases.atOnce }

    /// From here on no gate opens by itself: what it would let through fails in the database, one by one and as badly as the
    /// application takes it. Nobody waits for the word before the fence, and everybody before the migration.
    let audience = Audience.everyMember

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.lease.onExpiry = .keep
    }

    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        ask(&directive, of: seat, in: run)
    }

    /// The task ends its own stragglers when the drain's budget is spent; this is the last resort behind it.
    func allowanceOfTask(in run: Run) -> Span {
        max(run.plan.deadline(of: .readOnly), run.plan.drain.timeout + .seconds(20))
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        // Once the last of them is down.
        let hooks = isFirst ? HookStep.undoBehindFence(undoing) : []
        let sites: [any StepDefinition] =
            isFirst && undoing.hasBegun(CloseSitesStep.self)
            ? [OpenSitesStep(.drain, index: nil)] : []
        // A primary that is shut for good keeps it; the one that has taken its place has none any more.
        let isKept =
            undoing.isPromoting || undoing.fencesKept.contains(database(in: undoing.plan))
        return (isKept ? [] : [LowerFenceStep(.drain, index: index)]) + sites + hooks
    }
}
