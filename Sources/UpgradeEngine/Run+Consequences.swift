// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

extension Run {
    /// What follows from the facts so far, at this time; empty when nothing does. Applied, it is asked again until it is empty.
    public func consequences(at now: Instant) -> [RunEvent] {
        guard standing == .going || standing == .paused else { return [] }
        guard let current else { return begin(0) }
        if isComplete(current, at: now) { return begin(current.index + 1) }
        if case .database(let kind) = current.step { return databaseConsequences(kind, at: now) }
        return []
    }

    /// When `time` should be put in next, at the latest.
    public var nextDeadline: Instant? {
        guard standing == .going || standing == .paused, let current else { return nil }
        if isComplete(current, at: current.beganAt) { return nil }
        switch current.step {
        case .approval: return nil
        // While it is paused, nothing begins when the time is over.
        case .bake: return standing == .paused ? nil : current.beganAt + plan.rollout.bake
        // A new leader gives the step its time again: while nobody led, nobody could report.
        case .nodes, .hook:
            return max(current.beganAt, ledSince ?? current.beganAt) + allowance(of: current)
        case .database:
            if database.inFlight == nil, database.failures > 0 { return nextAttemptAt }
            return max(current.beganAt, ledSince ?? current.beganAt) + allowance(of: current)
        }
    }

    /// How long the step in hand may take.
    func allowance(of current: Current) -> Span {
        switch current.step {
        // The task ends its own stragglers when the drain's budget is spent; this is the last resort behind it.
        case .database(.census): plan.drain.timeout + .seconds(20)
        case .database(.raiseFence):
            max(plan.deadline(of: .readOnly), plan.drain.timeout + .seconds(20))
        // These are tried again and must not be given up lightly; a person is asked when they do not end.
        case .database where direction == .back || isPastPointOfNoReturn:
            max(plan.deadline(of: current.planned.phase), .minutes(10))
        // The gates are closed, and a node either does it at once or is not there.
        case .database(.migrate) where !current.pending.isEmpty: plan.deadline(of: .readOnly)
        case .nodes(.braced), .nodes(.readsHeld), .nodes(.reactivated):
            plan.deadline(of: .readOnly)
        default: plan.deadline(of: current.planned.phase)
        }
    }

    private func begin(_ index: Int) -> [RunEvent] {
        guard standing == .going else { return [] }
        // A task of the way forward may still be at work: its end is awaited before anything is undone.
        if direction == .back, database.inFlight != nil { return [] }
        guard itinerary.indices.contains(index) else { return [.ended(Ended(outcome: outcome))] }
        let planned = itinerary[index]
        let began = StepBegan(
            direction: direction, index: index, phase: planned.phase, step: planned.step)
        guard isEmptySet(planned.step) else { return [.stepBegan(began)] }
        return [.stepBegan(began)]
            + setback("\(planned.step.title): no node that takes part is named")
    }

    /// An empty set of nodes is an error, never "all". A batch may be empty: its nodes are quarantined and not forgotten.
    private func isEmptySet(_ step: Step) -> Bool {
        switch step {
        case .hook: named(by: step).isEmpty
        case .nodes(.upgraded): !hasParticipants
        case .nodes: direction == .forward && !hasParticipants
        case .approval, .database, .bake: false
        }
    }

    private var outcome: Ended.Outcome {
        if direction == .forward { return .done }
        return begun.contains(where: \.touches) ? .rolledBack : .refused
    }

    private func isComplete(_ current: Current, at now: Instant) -> Bool {
        switch current.step {
        case .approval(let phase): approvals.contains(phase)
        case .nodes, .hook: current.pending.isEmpty
        case .database: current.isDatabaseDone
        case .bake: now >= current.beganAt + plan.rollout.bake
        }
    }

    private func databaseConsequences(_ kind: DatabaseTask.Kind, at now: Instant) -> [RunEvent] {
        guard database.inFlight == nil, current?.pending.isEmpty != false else { return [] }
        if database.failures == 0 || now >= nextAttemptAt {
            return [
                .databaseTaskStarted(
                    DatabaseTaskFact(kind: kind, attempt: (database.attempts[kind] ?? 0) + 1))
            ]
        }
        return []
    }

    /// Attempts that follow a failure wait 250 ms, then twice as long each time.
    private var nextAttemptAt: Instant {
        let wait = Span.milliseconds(250 << Int64(min(database.failures, 7) - 1))
        return (database.lastEndedAt ?? createdAt) + wait
    }
}
