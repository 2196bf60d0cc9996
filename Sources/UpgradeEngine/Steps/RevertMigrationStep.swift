// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Undoes the `switch` migrations of this run with their down-migrations.
struct RevertMigrationStep: NodeAwaitingTask, EachDatabaseStep {
    static let kind = DatabaseTask.Kind.revertMigrate
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "undo the migration" }
    func atOnce(in plan: Plan) -> Int { plan.migrationsAtOnce }
    func details(_ preview: StepPreview) -> [String] { preview.undone(.switch, of: self) }

    /// Whoever served reads while the way back was stuck holds them again before the schema changes.
    func isAwaited(_ seat: Seat, in run: Run) -> Bool {
        run.readHold != nil && run.isSchemaInDoubt && run.attempt(at: step) > 1
            && !seat.isQuarantined
    }

    func quarantines(in run: Run) -> Bool { true }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        .reached(if: run.isHoldingReads(status))
    }

    func allowance(in run: Run) -> Span? {
        let isWaiting = run.current?.pending.isEmpty == false
        return isWaiting
            ? run.plan.deadline(of: .readOnly)
            : max(allowanceOfTask(in: run), .minutes(10))
    }
}

extension Run {
    /// Whether the way back waits for a person at the migration, none of which has been undone: then the new release fits.
    var isStuckOnNewSchema: Bool {
        guard direction == .back, case .stopped = standing,
            current?.definition is RevertMigrationStep,
            plan.databases.count == 1 || database.migrated.count == plan.databases.count
        else { return false }
        return database[databaseAtWork].lastFailure?.effect == DatabaseFailure.PossibleEffect.none
    }

    /// Whether the migrations of every database are undone.
    var hasRevertedMigrations: Bool {
        let steps = itinerary.filter { $0 is RevertMigrationStep }
        return !steps.isEmpty && steps.allSatisfy { hasCompletedBack($0.step) }
    }
}
