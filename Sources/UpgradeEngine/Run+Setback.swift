// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What follows when something does not go as planned.
extension Run {
    /// What a failure on the way forward leads to: the plan's policy.
    ///
    /// - Parameters:
    ///   - cause: what to do about what failed, whatever becomes of the run.
    ///   - waysOut: what leads on where the run waits; `nil`: what leads on from any step.
    ///   - mayGoBack: a person may undo the run although it seems past the point of no return: what failed took no effect.
    func setback(
        _ reason: String, advice cause: String? = nil, waysOut: String? = nil,
        mayGoBack: Bool = false
    ) -> [RunEvent] {
        if turnsBackByItself {
            return [.turnedBack(TurnedBack(reason: reason, stamp: nil, advice: cause))]
        }
        let first = cause.map { "\($0); then: " } ?? ""
        let ways = waysOut ?? self.waysOut(mayGoBack: mayGoBack)
        return [.stopped(Stopped(reason: reason, advice: first + ways))]
    }

    /// Whether a failure turns the run back without anybody being asked.
    private var turnsBackByItself: Bool {
        !isPastPointOfNoReturn && !isWayBackBlocked && direction == .forward
            && (plan.onFailure == .rollback || phase == .preflight)
    }

    /// Whether the run would be past the point of no return if a task in flight took no effect.
    private func staysPastPointOfNoReturn(without task: DatabaseTaskFact) -> Bool {
        let isAlone =
            database.beingLifted.contains(task.database) && database.lifted == [task.database]
        return isPastPointOfNoReturn && !isAlone
    }

    /// A step once more: this one, or the current one where it is not on the way.
    func begins(_ step: Step, or current: Current) -> [RunEvent] {
        let index = itinerary.firstIndex { $0.step == step && step != current.step }
        let phase = index.map { itinerary[$0].phase } ?? current.phase
        return [
            .stepBegan(
                StepBegan(
                    direction: direction, index: index ?? current.index, phase: phase,
                    step: index == nil ? current.step : step))
        ]
    }

    func databaseFacts(_ task: DatabaseTaskFact, _ outcome: DatabaseOutcome) -> [RunEvent] {
        let slot = database[task.database]
        guard slot.inFlight == task else { return [] }
        switch outcome {
        case .done(let report):
            let ended = RunEvent.databaseTaskEnded(
                DatabaseTaskEnded(
                    kind: task.kind, attempt: task.attempt, result: .done, report: report,
                    database: task.database))
            // Said to the step that asks for the task, also where the task was told to end and has ended well all the same.
            guard direction == .back, isGoingOn, isCurrent(task.kind, of: task.database),
                !isSchemaAccepted, let changes = report.schemaChanges, !changes.isEmpty
            else { return [ended] }
            // Rolled back is said of a schema that is as before, and of no other.
            let words = Listed.text(changes, separator: "; ")
            return [ended]
                + setback("the schema is not as it was before: \(words)", waysOut: waysOutOfSchema)
        case .failed(let failure):
            let ended = RunEvent.databaseTaskEnded(
                DatabaseTaskEnded(
                    kind: task.kind, attempt: task.attempt, result: .failed, failure: failure,
                    database: task.database))
            // What was told to end says nothing about what is asked for now.
            guard !slot.isAbandoned, isAskedFor(task.kind, of: task.database), isGoingOn else {
                return [ended]
            }
            let reason = "\(task.title) failed: \(failure.message)"
            if [.expand, .migrate].contains(task.kind), failure.isOfMigration,
                let left = leavingOut(
                    task.database, task.kind == .expand ? .stage : .migrate, because: reason)
            {
                return [ended] + left
            }
            let isNow = isCurrent(task.kind, of: task.database)
            let willRetry = (direction == .back || isPastPointOfNoReturn) && slot.failures + 1 < 5
            // Where a person has to be asked, that is when its turn has come: the run then waits for its database.
            guard isNow ? !willRetry : turnsBackByItself else { return [ended] }
            if task.kind.promotes {
                return [ended] + setbackOfPromotion(reason, failure)
            }
            let mayGoBack = failure.effect == .none && !staysPastPointOfNoReturn(without: task)
            if let ways = waysOut(of: task.kind, failure, mayGoBack: mayGoBack) {
                return [ended] + setback(reason, advice: ways.cause, waysOut: ways.ways)
            }
            return [ended]
                + setback(reason, advice: failure.adviceForPeople, mayGoBack: mayGoBack)
        }
    }

    /// What follows when the current step's time is over.
    func timeFacts(_ observations: Observations, at now: Instant) -> [RunEvent] {
        guard isGoingOn, let current, let deadline = nextDeadline, now >= deadline,
            let span = current.definition.allowance(in: self)
        else { return [] }
        if current.pending.isEmpty {
            guard let task = database[databaseAtWork].inFlight else { return [] }
            return setback("\(task.title) took longer than \(span)")
        }
        let pending = current.pending.sorted()
        if current.definition.isCutShort, plan.drain.stragglers == .terminate,
            direction == .forward
        {
            return [.drainCutShort(DrainCutShort(nodes: pending))]
        }
        if let facts = current.definition.overdue(pending, after: span, in: self) { return facts }
        return failure(
            of: pending.map { node in
                let known = observations.explanation(of: node, at: now).map { ": \($0)" } ?? ""
                let words = "not reached within \(span)\(known)"
                return NodeTrouble(node: node, reason: current.failed[node] ?? words)
            }, isSilence: pending.allSatisfy { observations.isSilent($0, at: now, since: ledSince) }
        )
    }
}
