// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// A step that is a task of the database; most of them wait for no node.
protocol DatabaseStep: NodelessStep {
    static var kind: DatabaseTask.Kind { get }
    /// How long the task may take on the way forward, before the point of no return.
    func allowanceOfTask(in run: Run) -> Span
}

extension DatabaseStep {
    static var word: String { Step.database(kind).word }
    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.database == nil ? [] : [Self(phase, index: nil)]
    }
    var task: DatabaseTask.Kind? { Self.kind }
    func allowanceOfTask(in run: Run) -> Span { run.plan.deadline(of: phase) }

    func allowance(in run: Run) -> Span? {
        guard run.direction == .back || run.isPastPointOfNoReturn else {
            return allowanceOfTask(in: run)
        }
        // These are tried again and must not be given up lightly; a person is asked when they do not end.
        return max(allowanceOfTask(in: run), .minutes(10))
    }
}

/// A task that begins when nodes have said something; once it is under way it waits for none.
protocol NodeAwaitingTask: DatabaseStep {
    func isAwaited(_ seat: Seat, in run: Run) -> Bool
}

extension NodeAwaitingTask {
    func names(_ seat: Seat, in run: Run) -> Bool {
        let isWaiting = run.database.inFlight == nil || run.database.isAbandoned
        return isWaiting && isAwaited(seat, in: run)
    }

    func named(in run: Run) -> [NodeName] {
        run.members.keys.filter { node in
            run.seat(of: node).map { isAwaited($0, in: run) } ?? false
        }.sorted()
    }

    func allowance(in run: Run) -> Span? {
        let isWaiting = run.current?.pending.isEmpty == false
        return run.plan.deadline(of: isWaiting ? .readOnly : phase)
    }
}

extension StepPreview {
    /// What of the migrations of a phase is to be applied.
    func pending(_ phase: MigrationPhase) -> [String] {
        let versions = migrations.filter { $0.phase == phase }.map(\.version)
        return versions.isEmpty
            ? ["none"] : ["those not applied yet of " + versions.joined(separator: ", ")]
    }

    /// What of the migrations of a phase can be undone, in the order in which it is.
    func undone(_ phase: MigrationPhase) -> [String] {
        migrations.reversed().filter { $0.phase == phase }.map {
            $0.canBeUndone
                ? "\($0.version)" : "\($0.version) cannot be undone: it has no down-migration"
        }
    }
}
