// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

extension Run {
    /// What follows from the facts so far, and from what nodes have said, at this time; empty when nothing does. Applied, it is asked
    /// again until it is empty.
    public func consequences(seeing observations: Observations, at now: Instant) -> [RunEvent] {
        let follows = nextStep(seeing: observations, at: now)
        guard follows.isEmpty, isUnread else { return follows }
        return observedFacts(observations, at: now)
    }

    private func nextStep(seeing observations: Observations, at now: Instant) -> [RunEvent] {
        guard isGoingOn else { return [] }
        guard let current else { return begin(0, seeing: observations, at: now) }
        if current.isDatabaseDone, !isPassedOver(current.definition) {
            let follows = current.definition.followUp(in: self)
            if !follows.isEmpty { return standing == .active ? follows : [] }
        }
        if isComplete(current, at: now) {
            return begin(current.index + 1, seeing: observations, at: now)
        }
        return start(current, at: now)
    }

    /// Whether it goes on by itself, as far as it may.
    var isGoingOn: Bool { standing == .active || standing == .paused }

    /// When `time` should be put in next, at the latest.
    public var nextDeadline: Instant? {
        guard isGoingOn, let current, !isComplete(current, at: current.beganAt) else { return nil }
        // While it is paused, nothing begins when the time is over.
        if let wait = current.definition.wait(in: self) {
            return standing == .paused ? nil : current.beganAt + wait
        }
        let slot = database[databaseAtWork]
        if current.definition.task != nil, current.pending.isEmpty, slot.inFlight == nil,
            slot.failures > 0
        {
            return nextAttempt(of: slot)
        }
        // A new leader gives the step its time again: while nobody led, nobody could report.
        let began = max(current.beganAt, ledSince ?? current.beganAt)
        return current.definition.allowance(in: self).map { began + $0 }
    }

    private func begin(
        _ index: Int, seeing observations: Observations, at now: Instant
    ) -> [RunEvent] {
        guard standing == .active else { return [] }
        let index =
            itinerary.indices.dropFirst(index).first { !isPassedOver(itinerary[$0]) }
            ?? itinerary.endIndex
        // A task of the way forward may still be at work: its end is awaited before anything is undone.
        if direction == .back, database.isEnding { return [] }
        guard itinerary.indices.contains(index) else { return [.ended(Ended(outcome: outcome))] }
        let next = itinerary[index]
        if !isAheadOfItsTurn(next),
            let objection = next.objection(seeing: observations, at: now, in: self)
        {
            return objection.asks
                ? [.stopped(Stopped(reason: objection.reason, advice: objection.advice))]
                : setback(objection.reason, waysOut: objection.advice)
        }
        let began = RunEvent.stepBegan(
            StepBegan(direction: direction, index: index, phase: next.phase, step: next.step))
        guard next.lacksNodes(in: self) else { return [began] }
        return [began] + setback("\(next.title): no node that takes part is named")
    }

    private var outcome: Ended.Outcome {
        if direction == .forward { return .done }
        return begun.contains(where: \.touches) ? .rolledBack : .refused
    }

    private func isComplete(_ current: Current, at now: Instant) -> Bool {
        let definition = current.definition
        if isPassedOver(definition) { return true }
        guard current.pending.isEmpty, definition.isSatisfied(in: self) else { return false }
        if definition.task != nil { return current.isDatabaseDone }
        return definition.wait(in: self).map { now >= current.beganAt + $0 } ?? true
    }

    /// The task of the current step; and beside it those of steps behind it that are asked for already. One of these that fails is
    /// begun again when its turn comes.
    private func start(_ current: Current, at now: Instant) -> [RunEvent] {
        guard current.pending.isEmpty else { return [] }
        for step in stepsAskedFor {
            guard let kind = step.task else { continue }
            let label = step.database(in: plan)
            let slot = database[label]
            let isNow = step.step == current.step
            let isDue =
                isNow
                ? !current.isDatabaseDone && (slot.failures == 0 || now >= nextAttempt(of: slot))
                : slot.failures == 0 && standing == .active
            guard isDue, slot.inFlight == nil else { continue }
            let attempt = (database.attempts[kind]?[label] ?? 0) + 1
            return [
                .databaseTaskStarted(
                    DatabaseTaskFact(kind: kind, attempt: attempt, database: label))
            ]
        }
        return []
    }

    /// Attempts that follow a failure wait 250 ms, then twice as long each time.
    private func nextAttempt(of slot: DatabaseProgress.Slot) -> Instant {
        let wait = Span.milliseconds(250 << Int64(min(slot.failures, 7) - 1))
        return (slot.lastEndedAt ?? createdAt) + wait
    }
}
