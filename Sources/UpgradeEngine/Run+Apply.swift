// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension Run {
    /// Takes a stored fact in. Total: no clock, no refusal; the same events give the same run.
    public mutating func apply(_ recorded: RecordedEvent) {
        version += 1
        switch recorded.event {
        case .created:
            break
        case .stepBegan(let began):
            begin(began, at: recorded.at)
        case .nodeSurveyed(let survey):
            members[survey.node]?.surveyed = survey.active
        case .nodeReached(let fact):
            current?.pending.remove(fact.node)
            current?.failed[fact.node] = nil
            switch current?.step {
            case .nodes(.braced), .database(.migrate): braced.insert(fact.node)
            default: break
            }
        case .nodeFailed(let trouble):
            current?.failed[trouble.node] = trouble.reason
        case .nodeQuarantined(let trouble):
            members[trouble.node]?.quarantine = trouble.reason
            current?.pending.remove(trouble.node)
            current?.failed[trouble.node] = nil
        case .nodeReadmitted(let fact):
            members[fact.node]?.quarantine = nil
            members[fact.node]?.isUpgradedExtra = direction == .forward
        case .nodeJoined(let fact):
            members[fact.node] = Member(
                quarantine: "appeared during the run; upgraded as an extra batch", hasJoined: true)
            waitForJoined(fact.node)
        case .drainCutShort(let cut):
            for node in cut.nodes { current?.pending.remove(node) }
        case .databaseTaskStarted(let fact):
            database.inFlight = fact
            database.isAbandoned = false
            database.attempts[fact.kind] = fact.attempt
        case .databaseTaskEnded(let ended):
            end(ended, at: recorded.at)
        case .approved(let approved):
            approvals.insert(approved.phase)
            requests.insert(approved.mark.request)
        case .paused(let mark):
            standing = .paused
            requests.insert(mark.request)
        case .resumed(let mark):
            standing = .going
            requests.insert(mark.request)
        case .aborted(let mark):
            requests.insert(mark.request)
        case .retried(let mark):
            standing = .going
            database.failures = 0
            drainBegan = nil
            if let step = current?.step { retries[step, default: 0] += 1 }
            requests.insert(mark.request)
        case .turnedBack(let turned):
            turnBack(turned)
        case .stopped(let stopped):
            standing = .stopped(stopped)
            database.isAbandoned = database.inFlight != nil
        case .ended(let ended):
            standing = .ended(ended.outcome)
            endedAt = recorded.at
        }
        noteWindow(at: recorded.at)
    }

    /// A step that names every member names one that joins meanwhile.
    private mutating func waitForJoined(_ node: NodeName) {
        guard let step = current?.step, direction == .forward, named(by: step).contains(node) else {
            return
        }
        if step == .database(.migrate), database.inFlight != nil { return }
        current?.targets.insert(node)
        current?.pending.insert(node)
    }

    private mutating func begin(_ began: StepBegan, at instant: Instant) {
        if began.direction == .forward {
            begun.insert(began.step)
        } else {
            begunBack.insert(began.step)
        }
        let named = Set(named(by: began.step))
        current = Current(
            index: began.index, planned: PlannedStep(began.phase, began.step), beganAt: instant,
            targets: named, pending: named, failed: [:], isDatabaseDone: false)
        database.failures = 0
        database.lastFailure = nil
        if began.direction == .forward, began.phase == .drain {
            switch began.step {
            case .nodes(.drained): drainBegan = instant
            case .database where drainBegan == nil: drainBegan = instant
            default: break
            }
        }
    }

    private mutating func end(_ ended: DatabaseTaskEnded, at instant: Instant) {
        let wasAbandoned = database.isAbandoned
        database.inFlight = nil
        database.isAbandoned = false
        database.lastEndedAt = instant
        switch ended.result {
        case .done:
            if let proof = ended.report?.census { database.census = proof }
            if current?.step == .database(ended.kind) { current?.isDatabaseDone = true }
            database.failures = 0
        case .failed where wasAbandoned:
            break
        case .failed:
            database.failures += 1
            database.lastFailure = ended.failure
        case .lost:
            break
        }
    }

    private mutating func turnBack(_ turned: TurnedBack) {
        direction = .back
        standing = .going
        reason = turned.reason
        advice = turned.advice
        itinerary = Itinerary.back(plan, begun: begun)
        current = nil
        database.isAbandoned = database.inFlight != nil
        if let mark = turned.mark { requests.insert(mark.request) }
    }

    /// The write window: from the first word to close a gate until every gate is open.
    private mutating func noteWindow(at instant: Instant) {
        if windowOpened == nil, begun.contains(.nodes(.closed)) { windowOpened = instant }
        if windowClosed == nil, windowOpened != nil, let current, current.step == .nodes(.opened),
            current.pending.isEmpty
        {
            windowClosed = instant
        }
    }
}
