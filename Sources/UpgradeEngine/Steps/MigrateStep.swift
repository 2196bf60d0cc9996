// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Applies the `switch` migrations in one transaction.
///
/// It waits for whoever has not been braced: a node that has joined since then.
struct MigrateStep: BracedTask, EachDatabaseStep {
    static let kind = DatabaseTask.Kind.migrate
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "migrate the schema" }
    func atOnce(in plan: Plan) -> Int { plan.migrationsAtOnce }
    let isProof = true

    func details(_ preview: StepPreview) -> [String] {
        let isLast = preview.plan.failedDatabasesAtMost > 0
        let before = preview.plan.databases(before: self).map {
            isLast
                ? "when it fails and no more may be left out, what \($0) has committed is undone by its down files before any fence is lowered"
                : "when it fails, what \($0) has committed is undone by its down files before any fence is lowered"
        }
        return preview.pending(.switch, of: self) + [before].compactMap { $0 }
    }

    /// On the way back, nobody reads while the schema changes back, where neither release survives the other's. A migration that
    /// certainly took no effect keeps nobody waiting: what is served fits the schema.
    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let hold = run.readHold, run.isSchemaInDoubt,
            !run.hasRevertedMigrations
        else { return }
        // Where the way back is stuck and the schema is still the new one, who serves the new release serves.
        directive.reads = ReadAdmission(
            hold: hold, until: run.isStuckOnNewSchema ? run.forwardActivation : nil)
    }

    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        // Readers first: whoever reads with the new release would be cut off when its primary is shut. One that was started on the new
        // schema is halted before the standby takes writes: an address that names both servers would lead it there.
        if undoing.isPromoting {
            return [
                PromoteBehindFenceStep(.migrate, index: nil), ReactivateStep(.migrate, index: nil),
            ] + HaltStep.undoOfStart(undoing) + [PromoteStep(.migrate, index: nil)]
        }
        let revert = RevertMigrationStep(.migrate, index: index)
        guard case .hold = undoing.plan.reads else { return [revert] }
        // Reads are held already where a tool's work, or a later database, is undone first.
        let isHeld = undoing.hasBegun(OpenPassStep.self) || !isLast(of: undoing)
        let hold: [any StepDefinition] = isHeld ? [] : [HoldReadsStep(.migrate, index: nil)]
        guard isFirst else { return hold + [revert] }
        return hold + [revert] + UpgradeStep.undoOfRollout(undoing)
            + HaltStep.undoOfStart(undoing)
    }
}
