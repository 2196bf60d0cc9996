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

/// What is said once for all databases of a plan.
enum Databases {
    /// So many are fenced, looked at and opened at once. Each takes a connection and a moment of the coordinator's.
    static let atOnce = 16
}

/// A task that each database of a plan has.
protocol EachDatabaseStep: DatabaseStep {
    /// Which of the plan's databases, counted from 0; `nil` where it has one.
    var index: Int? { get }
}

extension EachDatabaseStep {
    static var isOfEachDatabase: Bool { true }
    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.databases.count > 1
            ? plan.databases.indices.map { Self(phase, index: $0) }
            : plan.databases.map { _ in Self(phase, index: nil) }
    }
    var step: Step { Step(Self.word, index) }
    /// Of several, the one that is undone last.
    var isFirst: Bool { (index ?? 0) == 0 }

    func database(in plan: Plan) -> DatabaseName? {
        guard let index, plan.databases.indices.contains(index) else { return nil }
        return plan.label(of: plan.databases[index])
    }

    func title(in plan: Plan) -> String {
        title + (database(in: plan).map { " (\($0))" } ?? "")
    }

    /// Whether no later database has begun the same.
    func isLast(of undoing: Undoing) -> Bool {
        !undoing.begun.contains {
            $0.word == Self.word && ($0.index ?? 0) > (index ?? 0)
        }
    }
}

extension Plan {
    /// The names of the databases before one that a step is for, for people; `nil` where there is none.
    func databases(before step: some EachDatabaseStep) -> String? {
        guard let index = step.index, index > 0 else { return nil }
        return Listed.text(databases.prefix(index).map(\.name.rawValue), separator: ", ")
    }
}

/// A task that begins when nodes have said something; once it is under way it waits for none.
protocol NodeAwaitingTask: DatabaseStep {
    func isAwaited(_ seat: Seat, in run: Run) -> Bool
}

extension NodeAwaitingTask {
    func names(_ seat: Seat, in run: Run) -> Bool {
        let slot = run.database[database(in: run.plan)]
        let isWaiting = slot.inFlight == nil || slot.isAbandoned
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
    func pending(_ phase: MigrationPhase, of step: some EachDatabaseStep) -> [String] {
        let database = step.database(in: plan)
        let versions = migrations.filter { $0.phase == phase && $0.database == database }
            .map(\.version)
        return versions.isEmpty
            ? ["none"] : ["those not applied yet of " + versions.joined(separator: ", ")]
    }

    /// What of the migrations of a phase can be undone, in the order in which it is.
    func undone(_ phase: MigrationPhase, of step: some EachDatabaseStep) -> [String] {
        let database = step.database(in: plan)
        return migrations.reversed().filter { $0.phase == phase && $0.database == database }.map {
            $0.canBeUndone
                ? "\($0.version)" : "\($0.version) cannot be undone: it has no down-migration"
        }
    }
}
