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
    /// What the database needs, now; computed, so that a new leader asks for the same.
    public var databaseCommand: DatabaseCommand? {
        guard let task = database.inFlight else { return nil }
        let isWanted = isCurrent(task.kind, of: task.database) && !database.isAbandoned
        switch standing {
        case .active, .paused: return isWanted ? .perform(task) : .cancel(task)
        case .stopped, .ended: return .cancel(task)
        }
    }

    /// Whether something is at work that may wait long for locks of the database's: migrations, or the application's tool.
    public var mayWaitForLocks: Bool {
        if isEnded { return false }
        if let task = database.inFlight {
            return [.expand, .migrate, .contract, .revertMigrate, .revertExpand].contains(task.kind)
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
        if !claims.isEmpty { task.claims = claims }
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
