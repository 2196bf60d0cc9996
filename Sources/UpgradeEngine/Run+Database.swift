// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

/// What the database is asked for now.
public enum DatabaseCommand: Hashable, Sendable {
    case perform(DatabaseTaskFact)
    /// The task in flight is not wanted any more: end it as soon as possible and say how it ended.
    case cancel(DatabaseTaskFact)
}

extension Run {
    /// What the databases need, now, one command for each at most; computed, so that a new leader asks for the same.
    public var databaseCommands: [DatabaseCommand] {
        database.inFlight.map { task in
            let isWanted =
                isAskedFor(task.kind, of: task.database) && !database[task.database].isAbandoned
            return isGoingOn && isWanted ? .perform(task) : .cancel(task)
        }
    }

    /// Whether something is at work of which somebody wants to know how far it has come: what may wait for locks, and a promotion, which
    /// may wait for a server that starts.
    public var mayTakeLong: Bool {
        mayWaitForLocks
            || !isEnded
                && database.inFlight.contains {
                    [.promoteBehindFence, .promoteStandby].contains($0.kind)
                }
    }

    /// Whether something is at work that may wait long for locks of the database's: migrations, or the application's tool.
    public var mayWaitForLocks: Bool {
        if isEnded { return false }
        if !database.inFlight.isEmpty {
            let kinds: Set<DatabaseTask.Kind> = [
                .expand, .migrate, .contract, .revertMigrate, .revertExpand,
            ]
            return database.inFlight.contains { kinds.contains($0.kind) }
        }
        guard let current, current.definition is any ToolRunStep else { return false }
        return !current.pending.isEmpty
    }

    /// The label of the database that the current step is for.
    public var databaseAtWork: DatabaseName? { current?.definition.database(in: plan) }

    /// Whether the current step is a task of a database.
    public var isAtDatabase: Bool { current?.definition.task != nil }

    /// Whether the current step asks for this.
    func isCurrent(_ kind: DatabaseTask.Kind, of label: DatabaseName?) -> Bool {
        current?.definition.task == kind && databaseAtWork == label
    }

    // MARK: Side by side

    /// The current step and those behind it whose tasks may be at work at once: of other databases, and of the same kind.
    private var stepsTogether: [any StepDefinition] {
        guard let current, itinerary.indices.contains(current.index),
            itinerary[current.index].step == current.step
        else { return [] }
        return itinerary[current.index...].prefix { $0.step.word == current.step.word }
            .filter { leftOut.isEmpty || !isPassedOver($0) }
    }

    /// The steps whose tasks are asked for now: the current one, and others of its kind that nobody has to be waited for.
    var stepsAskedFor: [any StepDefinition] {
        guard let current else { return [] }
        let most = current.definition.atOnce(in: plan)
        guard most > 1, !stepsTogether.isEmpty else { return [current.definition] }
        return Array(stepsTogether.filter { !database.doneEarly.contains($0.step) }.prefix(most))
    }

    /// Whether a task is that of the current step, or of one whose turn has not come.
    func isAskedFor(_ kind: DatabaseTask.Kind, of label: DatabaseName?) -> Bool {
        isCurrent(kind, of: label)
            || stepsTogether.contains { $0.task == kind && $0.database(in: plan) == label }
    }

    /// The step that a task is of, on the present way.
    func step(of task: DatabaseTaskFact) -> Step? {
        itinerary.first { $0.task == task.kind && $0.database(in: plan) == task.database }?.step
    }

    /// Whether the task of a step has been started before the step has begun.
    func isAheadOfItsTurn(_ step: any StepDefinition) -> Bool {
        guard let kind = step.task else { return false }
        return database.doneEarly.contains(step.step)
            || database[step.database(in: plan)].inFlight?.kind == kind
    }

    /// Whether a person has said that the schema of the database at work may stay what it is.
    var isSchemaAccepted: Bool { acceptedSchemas.contains(databaseAtWork) }

    /// What of the schemas is not as before, for people.
    var schemaChanges: [String] {
        plan.databases.map { plan.label(of: $0) }.flatMap { label in
            (database.schemaChanges[label] ?? []).map { change in
                label.map { "\($0): \(change)" } ?? change
            }
        }
    }

    /// Who may be of the old release and was connected after the lift, for people.
    public var lateSessions: [String] {
        plan.databases.map { plan.label(of: $0) }.flatMap { label in
            (database.lateSessions[label] ?? []).map { found in
                label.map { "\($0): \(found)" } ?? found
            }
        }
    }

    /// Which tables the fence has refused, and how often, for people.
    public var refusedTables: [String] {
        plan.databases.map { plan.label(of: $0) }.compactMap { label in
            guard let refused = database.refused[label]?.description else { return nil }
            return label.map { "\($0): \(refused)" } ?? refused
        }
    }

    /// A task with all that whoever performs it has to know.
    public func task(_ fact: DatabaseTaskFact, epoch: Epoch, at now: Instant) -> DatabaseTask {
        var task = DatabaseTask(
            kind: fact.kind, run: identifier, epoch: epoch, attempt: fact.attempt)
        if !claims.isEmpty, fact.database == databaseAtWork { task.claims = claims }
        if database.promotion == .done { task.isPromoted = true }
        if fact.kind == .lowerFence {
            let frozen = members.keys.sorted().compactMap { members[$0]?.frozenConnections }
                .filter { !$0.isEmpty }
            if !frozen.isEmpty { task.frozenConnections = frozen }
        }
        switch fact.kind {
        case .raiseFence, .census: task.budget = drainLeft(at: now)
        case .expand, .revertExpand, .compareSchema:
            task.schema = database.schema[fact.database]
        case .lowerFence where direction == .forward:
            task.proof = database.census[fact.database]
        case .freezeStandby:
            task.proof = database.census[fact.database]
            task.budget = plan.deadline(of: .readOnly)
        case .contract:
            task.sessions = database.sessions[fact.database]
            task.addresses = Set(members.values.flatMap(\.addresses)).sorted()
            // The sessions of these could be taken for another machine's.
            let silent = members.keys.filter { members[$0]?.addresses.isEmpty == true }.sorted()
            if !silent.isEmpty { task.silentNodes = silent }
        case .openPass:
            task.pass = pass(for: toolTask(plan.toolIndex(of: fact.database)))?.digest
        case .readPreview: task.preview = tools[fact.database]?.preview
        case .openRevertPass:
            task.pass = pass(for: toolRevertTask(plan.toolIndex(of: fact.database)))?.digest
        default: break
        }
        return task
    }

    /// What is left of the drain's budget. A new leader gives it again, like every step its time.
    private func drainLeft(at now: Instant) -> Span {
        guard let drainBegan else { return plan.drain.timeout }
        let since = max(drainBegan, ledSince ?? drainBegan)
        let left = plan.drain.timeout.milliseconds - (now - since).milliseconds
        return Span(milliseconds: max(0, left))
    }
}

extension DatabaseFailure {
    /// What to do next: its own advice, or that of its findings.
    var adviceForPeople: String? {
        if let advice { return advice }
        let found = findings.compactMap(\.advice)
        return found.isEmpty ? nil : Listed.text(found, separator: "; ")
    }
}
