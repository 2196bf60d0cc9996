// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

/// What a run hears.
public enum RunInput: Hashable, Sendable {
    /// A node's status under the directive that it has now; anything older is not put in.
    case status(NodeName, NodeStatus)
    /// What nodes last said that preflight waits for, one of which ends the run: all that fail are named together.
    case presence([NodeName: NodeStatus])
    /// A node that the plan selects and the run does not know has appeared.
    case nodeAppeared(NodeName)
    case databaseEnded(DatabaseTaskFact, DatabaseOutcome)
    case request(RequestVerb, RequestMark)
    /// It is later; with what is known, for people, of the nodes that the step in hand waits for.
    case time(known: [NodeName: String])
    /// A new leader has folded the run: what the last one had in flight is lost.
    case leadershipTaken
}

extension Run {
    /// The facts that follow from an input. Reads, may refuse, changes nothing.
    public func decide(_ input: RunInput, at now: Instant) throws(Refusal) -> [RunEvent] {
        switch input {
        case .status(let node, let status): return statusFacts(node, status)
        case .presence(let statuses): return presenceFacts(statuses)
        case .nodeAppeared(let node):
            return members[node] == nil && !isEnded ? [.nodeJoined(NodeFact(node: node))] : []
        case .databaseEnded(let task, let outcome): return databaseFacts(task, outcome)
        case .request(let verb, let mark): return try requestFacts(verb, mark)
        case .time(let known): return timeFacts(at: now, known)
        case .leadershipTaken:
            guard let lost = database.inFlight else { return [] }
            return [
                .databaseTaskEnded(
                    DatabaseTaskEnded(kind: lost.kind, attempt: lost.attempt, result: .lost))
            ]
        }
    }
}

// MARK: - Statuses

extension Run {
    private func statusFacts(_ node: NodeName, _ status: NodeStatus) -> [RunEvent] {
        guard let member = members[node] else { return [] }
        if member.quarantine != nil {
            if isSettled(node, status) { return [.nodeReadmitted(NodeFact(node: node))] }
            guard current?.pending.contains(node) == true, isShut(status) else { return [] }
            return [.nodeReached(NodeFact(node: node))]
        }
        guard let current, !isEnded, current.pending.contains(node) else { return [] }
        switch verdict(on: node, status, for: current.step) {
        case .notYet:
            return []
        case .reached:
            let survey: [RunEvent] =
                current.step == .nodes(.present)
                ? [
                    .nodeSurveyed(
                        NodeSurveyed(
                            node: node, active: status.active, agentVersion: status.agentVersion))
                ] : []
            return survey + [.nodeReached(NodeFact(node: node))]
        case .failed(let reason):
            if current.failed[node] == reason { return [] }
            if case .stopped = standing { return [] }
            return failure(of: [NodeTrouble(node: node, reason: reason)])
        }
    }

    private func presenceFacts(_ statuses: [NodeName: NodeStatus]) -> [RunEvent] {
        guard let current, current.step == .nodes(.present) else { return [] }
        let said = statuses.filter { current.pending.contains($0.key) }
        let troubles = said.keys.sorted().compactMap { node -> NodeTrouble? in
            guard let status = said[node],
                case .failed(let reason) = verdict(on: node, status, for: current.step)
            else { return nil }
            return NodeTrouble(node: node, reason: reason)
        }
        return troubles.isEmpty ? [] : failure(of: troubles, advice: driftAdvice(said))
    }

    private func driftAdvice(_ statuses: [NodeName: NodeStatus]) -> String? {
        guard let expected = plan.release.expected else { return nil }
        let found = statuses.mapValues { $0.active?.release.name }.filter { $0.value != expected }
        return found.isEmpty ? nil : Drift(found: found, expected: expected).advice
    }

    /// What nodes failing the step in hand leads to.
    private func failure(of troubles: [NodeTrouble], advice: String? = nil) -> [RunEvent] {
        guard let current else { return [] }
        let facts = troubles.map(RunEvent.nodeFailed)
        if current.step == .nodes(.retired) || current.step == .nodes(.unstaged) {
            // Tidying up: it is told, and the node serves on.
            return facts + troubles.map { .nodeReached(NodeFact(node: $0.node)) }
        }
        if case .nodes(let goal) = current.step, participants.count > troubles.count {
            // On the way back and past the point of no return nothing is gained by stopping: the run goes on
            // without them and does not forget them.
            let goesOn = direction == .back || isPastPointOfNoReturn
            let isInBudget =
                quarantined.count + troubles.count <= plan.rollout.failureBudget
                && !goal.provesReadOnly
            if goesOn || isInBudget { return facts + troubles.map(RunEvent.nodeQuarantined) }
        }
        let words = Listed.text(
            troubles.map { "\($0.node): \($0.reason)" }, separator: "; ")
        return facts + setback("\(current.step.title) failed on \(words)", advice: advice)
    }

    /// What a failure on the way forward leads to: the plan's policy.
    func setback(_ reason: String, advice: String? = nil) -> [RunEvent] {
        let stopAdvice = (advice.map { "\($0); then: " } ?? "") + stopAdvice
        if isPastPointOfNoReturn || direction == .back {
            return [.stopped(Stopped(reason: reason, advice: stopAdvice))]
        }
        if plan.onFailure == .rollback || phase == .preflight {
            return [.turnedBack(TurnedBack(reason: reason, mark: nil, advice: advice))]
        }
        return [.stopped(Stopped(reason: reason, advice: stopAdvice))]
    }

    private var stopAdvice: String {
        if direction == .back {
            return
                "the gates of the nodes stay as they are; put right what failed, then `sluice retry \(identifier)`"
        }
        if isPastPointOfNoReturn {
            return "put right what failed, then `sluice retry \(identifier)`"
        }
        return
            "`sluice retry \(identifier)` tries the step again, `sluice rollback \(identifier)` undoes the run"
    }
}

extension NodeGoal {
    /// Whether the migration relies on every node having said so: a node that has not might serve the old release on the new
    /// schema, so no failure budget makes up for it.
    fileprivate var provesReadOnly: Bool {
        switch self {
        case .closed, .drained, .braced: true
        case .present, .staged, .upgraded, .verified, .opened, .retired, .readsHeld, .reactivated,
            .unstaged:
            false
        }
    }
}

// MARK: - The database

extension Run {
    private func databaseFacts(_ task: DatabaseTaskFact, _ outcome: DatabaseOutcome) -> [RunEvent] {
        guard database.inFlight == task else { return [] }
        switch outcome {
        case .done(let report):
            return [
                .databaseTaskEnded(
                    DatabaseTaskEnded(
                        kind: task.kind, attempt: task.attempt, result: .done, report: report))
            ]
        case .failed(let failure):
            let ended = RunEvent.databaseTaskEnded(
                DatabaseTaskEnded(
                    kind: task.kind, attempt: task.attempt, result: .failed, failure: failure))
            // What was told to end says nothing about what is asked for now.
            if database.isAbandoned { return [ended] }
            guard current?.step == .database(task.kind), standing == .going || standing == .paused
            else {
                return [ended]
            }
            let isTriedAgain =
                (direction == .back || isPastPointOfNoReturn) && database.failures + 1 < 5
            return isTriedAgain
                ? [ended]
                : [ended]
                    + setback(
                        "\(task.kind.title) failed: \(failure.message)",
                        advice: failure.adviceForPeople)
        }
    }
}

// MARK: - Time

extension Run {
    private func timeFacts(at now: Instant, _ known: [NodeName: String]) -> [RunEvent] {
        guard standing == .going || standing == .paused, let current, let deadline = nextDeadline,
            now >= deadline
        else { return [] }
        let span = allowance(of: current)
        switch current.step {
        case .approval, .bake:
            return []
        case .database(let kind):
            guard current.pending.isEmpty else { return failures(of: current, within: span, known) }
            guard database.inFlight != nil else { return [] }
            if case .stopped = standing { return [] }
            return setback("\(kind.title) took longer than \(span)")
        case .nodes(.drained) where plan.drain.stragglers == .terminate && direction == .forward:
            return [.drainCutShort(DrainCutShort(nodes: current.pending.sorted()))]
        case .nodes, .hook:
            return failures(of: current, within: span, known)
        }
    }

    private func failures(
        of current: Current, within span: Span, _ known: [NodeName: String]
    ) -> [RunEvent] {
        failure(
            of: current.pending.sorted().map { node in
                let words = "not reached within \(span)" + (known[node].map { ": \($0)" } ?? "")
                return NodeTrouble(node: node, reason: current.failed[node] ?? words)
            })
    }
}

// MARK: - Requests

extension Run {
    private func requestFacts(_ verb: RequestVerb, _ mark: RequestMark) throws(Refusal)
        -> [RunEvent]
    {
        if requests.contains(mark.request) { return [] }
        if isEnded { throw .ended(state) }
        switch verb {
        case .pause:
            switch standing {
            case .paused: throw .alreadyPaused
            case .going: return [.paused(mark)]
            case .stopped, .ended: throw .notGoing
            }
        case .resume:
            guard standing == .paused else { throw .notPaused }
            return [.resumed(mark)]
        case .approve:
            guard case .approval(let phase)? = current?.step, !approvals.contains(phase) else {
                throw .nothingToApprove
            }
            return [.approved(Approved(phase: phase, mark: mark))]
        case .retry:
            guard case .stopped = standing, let current else { throw .nothingToRetry }
            return [
                .retried(mark),
                .stepBegan(
                    StepBegan(
                        direction: direction, index: current.index, phase: current.planned.phase,
                        step: current.step)),
            ]
        case .abort:
            try checkMayTurnBack()
            let words = "aborted by \(mark.by)" + (mark.reason.map { ": \($0)" } ?? "")
            let policy: RunEvent =
                plan.onFailure == .rollback || phase == .preflight
                ? .turnedBack(TurnedBack(reason: words, mark: nil))
                : .stopped(Stopped(reason: words, advice: stopAdvice))
            return [.aborted(mark), policy]
        case .rollback:
            try checkMayTurnBack()
            let words = "rolled back by \(mark.by)" + (mark.reason.map { ": \($0)" } ?? "")
            return [.turnedBack(TurnedBack(reason: words, mark: mark))]
        }
    }

    private func checkMayTurnBack() throws(Refusal) {
        if direction == .back { throw .alreadyTurningBack }
        if isPastPointOfNoReturn { throw .pastPointOfNoReturn }
    }
}
