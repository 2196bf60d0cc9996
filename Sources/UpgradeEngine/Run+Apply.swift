// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension Run {
    /// Takes a stored fact in. Total: no clock, no refusal; the same events give the same run.
    public mutating func apply(_ recorded: RecordedEvent) {
        version += 1
        if recorded.event.changesWhatIsAsked { isUnread = true }
        switch recorded.event {
        case .created:
            break
        case .stepBegan(let began):
            begin(began, at: recorded.at)
        case .nodeSurveyed(let survey):
            members[survey.node]?.surveyed = survey.active
            members[survey.node]?.addresses = survey.addresses ?? []
        case .nodeReached(let fact):
            reach(fact.node)
            if let step = current?.step, [.silenced, .halted].contains(step) {
                members[fact.node]?.frozenConnections = fact.connections ?? []
            }
        case .nodeFailed(let trouble):
            current?.failed[trouble.node] = trouble.reason
        case .nodeQuarantined(let trouble):
            members[trouble.node]?.quarantine = trouble.reason
            current?.failed[trouble.node] = nil
            nameAgain(trouble.node)
        case .nodeReadmitted(let fact):
            members[fact.node]?.quarantine = nil
            members[fact.node]?.isUpgradedExtra = direction == .forward
            nameAgain(fact.node)
        case .nodeJoined(let fact):
            members[fact.node] = Member(quarantine: Member.joined, hasJoined: true)
            nameAgain(fact.node)
        case .nodeHeardAgain(let fact):
            members[fact.node]?.isOff = false
            nameAgain(fact.node)
        case .drainCutShort(let cut):
            for node in cut.nodes { reach(node) }
        case .oldReleaseSeen(let seen):
            seenLate[seen.node] = seen.late.count
        case .passOffered(let offered):
            passes[offered.pass.task] = offered
        case .toolEnded(let ended):
            noteTool(ended)
        case .databaseLeftOut(let left):
            leftOut[left.database] = left
        case .databaseTaskStarted(let fact):
            begin(fact)
        case .databaseTaskEnded(let ended):
            end(ended, at: recorded.at)
        case .standbySeen(let seen):
            note(seen)
        case .approved, .paused, .resumed, .aborted, .retried, .mended, .claimed, .nodeTakenOff,
            .schemaAccepted, .turnedForward:
            apply(request: recorded.event)
        case .turnedBack(let turned):
            turnBack(turned)
        case .stopped(let stopped):
            standing = .stopped(stopped)
            claims = []
            database.abandon()
        case .ended(let ended):
            standing = .ended(ended.outcome)
            endedAt = recorded.at
        }
        noteWindow(at: recorded.at)
    }

    /// What a person has asked for.
    private mutating func apply(request event: RunEvent) {
        switch event {
        case .approved(let approved):
            approvals.insert(approved.phase)
            requests.insert(approved.stamp.request)
        case .paused(let stamp):
            standing = .paused
            requests.insert(stamp.request)
        case .resumed(let stamp):
            standing = .active
            requests.insert(stamp.request)
        case .aborted(let stamp):
            requests.insert(stamp.request)
        case .retried(let stamp):
            tryAgain(stamp)
        case .mended(let mended):
            mend(with: mended)
        case .claimed(let claimed):
            claims = claimed.claims
            tryAgain(claimed.stamp)
        case .nodeTakenOff(let taken):
            takeOff(taken)
            nameAgain(taken.node)
        case .schemaAccepted(let stamp):
            acceptedSchemas.insert(databaseAtWork)
            tryAgain(stamp)
        case .turnedForward(let turned):
            turnForward(turned)
        default: break
        }
    }

    private mutating func reach(_ node: NodeName) {
        current?.pending.remove(node)
        current?.reached.insert(node)
        current?.failed[node] = nil
        if let definition = current?.definition, definition.isProof {
            proved[definition.step, default: []].insert(node)
        }
    }

    /// Whether the current step waits for a node that has changed, or is new.
    private mutating func nameAgain(_ node: NodeName) {
        guard let current, let seat = seat(of: node) else { return }
        if current.definition.names(seat, in: self), !current.reached.contains(node) {
            self.current?.pending.insert(node)
            if let hook = current.definition as? HookStep {
                hookTargets[hook.hook, default: []].insert(node)
            }
        } else {
            self.current?.pending.remove(node)
        }
    }

    private mutating func begin(_ began: StepBegan, at instant: Instant) {
        guard let found = located(began) else { return }
        let definition = found.definition
        let kind = type(of: definition)
        if began.direction == .forward {
            begun.insert(began.step)
            // A task ends it when it is started.
            if kind.endsWayBack, definition.task == nil { isPastPointOfNoReturn = true }
            Run.note(definition, in: &asking)
        } else {
            begunBack.insert(began.step)
            isPromotionDecided = isPromotionDecided ?? isSchemaOther
            Run.note(definition, in: &askingBack)
        }
        noteTool(definition)
        if definition is CloseSitesStep { closedSites.formUnion(leftOut.keys) }
        makeGoals(of: began.step)
        let named = Set(definition.named(in: self))
        if let hook = definition as? HookStep {
            hookTargets[hook.hook, default: []].formUnion(named)
        }
        current = Current(
            index: found.index, definition: definition, beganAt: instant, named: named,
            pending: named)
        current?.isDatabaseDone = database.doneEarly.remove(began.step) != nil
        let label = definition.database(in: plan)
        database[label].failures = 0
        database[label].lastFailure = nil
        noteDrain(began, at: instant)
    }

    /// A task begins: that of the current step, or of one whose turn has not come, which counts as begun from here on.
    private mutating func begin(_ fact: DatabaseTaskFact) {
        let label = fact.database
        database[label].inFlight = fact
        database[label].isAbandoned = false
        database.attempts[fact.kind, default: [:]][label] = fact.attempt
        if let step = step(of: fact) {
            if direction == .forward { begun.insert(step) } else { begunBack.insert(step) }
        }
        if fact.kind.promotes { database.promotion = .unknown }
        guard fact.kind == .lowerFence, direction == .forward else { return }
        if database.lifted.insert(label).inserted { database.beingLifted.insert(label) }
        isPastPointOfNoReturn = true
    }

    /// Of a kind with several, the last one answers for all: batches begin in order.
    static func note(_ step: any StepDefinition, in list: inout [any StepDefinition]) {
        let kind = type(of: step)
        if let known = list.lastIndex(where: {
            type(of: $0) == kind && (!kind.asksWhileCurrent || $0.step == step.step)
        }) {
            list[known] = step
        } else {
            list.append(step)
        }
    }

    /// Where a step stands in this program's itinerary. Its own index counts and not the stored one: a program that is newer than
    /// the run may have a step more.
    private func located(_ began: StepBegan) -> (index: Int, definition: any StepDefinition)? {
        if itinerary.indices.contains(began.index), itinerary[began.index].step == began.step {
            return (began.index, itinerary[began.index])
        }
        if let index = itinerary.firstIndex(where: { $0.step == began.step }) {
            return (index, itinerary[index])
        }
        return StepCatalog.definition(of: began.step, in: began.phase).map { (began.index, $0) }
    }

    /// The drain's budget begins with the first step of the phase that waits for writers, and anew when a person retries.
    private mutating func noteDrain(_ began: StepBegan, at instant: Instant) {
        guard began.direction == .forward, began.phase == .drain else { return }
        if began.step == .drained || (drainBegan == nil && current?.definition.task != nil) {
            drainBegan = instant
        }
    }

    private mutating func end(_ ended: DatabaseTaskEnded, at instant: Instant) {
        let hadNoEffect =
            ended.result == .failed && ended.failure?.effect == DatabaseFailure.PossibleEffect.none
        // What certainly took no effect has ended nothing.
        if ended.kind == .lowerFence, database.beingLifted.remove(ended.database) != nil,
            hadNoEffect
        {
            database.lifted.remove(ended.database)
            isPastPointOfNoReturn = !database.lifted.isEmpty
        }
        // A tool that was let through the fence may have changed anything.
        if [.migrate, .openPass].contains(ended.kind), !hadNoEffect {
            database.migrated.insert(ended.database)
        }
        // A tool's work is undone before the migrations.
        if ended.kind == .revertMigrate, ended.result == .done {
            database.migrated.remove(ended.database)
        }
        let wasAbandoned = database[ended.database].isAbandoned
        database[ended.database].inFlight = nil
        database[ended.database].isAbandoned = false
        database[ended.database].lastEndedAt = instant
        switch ended.result {
        case .done:
            note(ended.report, of: ended.database)
            if ended.kind == .raiseFence {
                database.older[ended.database] = ended.report?.older
            }
            if ended.kind == .contract {
                database.lateSessions[ended.database] = (ended.report?.warnings ?? [])
                    .filter { $0.code == LateSessions.code }.map(\.message)
            }
            noteTool(ended)
            noteDone(ended)
            database[ended.database].failures = 0
        case .failed where wasAbandoned:
            break
        case .failed:
            database[ended.database].failures += 1
            database[ended.database].lastFailure = ended.failure
        case .lost:
            break
        }
        notePromotion(ended)
        // The way back waits for the last task of the way forward, which may have taken no effect.
        if direction == .back, current == nil { planWayBack() }
    }

    private mutating func noteDone(_ ended: DatabaseTaskEnded) {
        if isCurrent(ended.kind, of: ended.database) {
            current?.isDatabaseDone = true
            claims = []
        } else if isAskedFor(ended.kind, of: ended.database),
            let step = step(
                of: DatabaseTaskFact(
                    kind: ended.kind, attempt: ended.attempt, database: ended.database))
        {
            database.doneEarly.insert(step)
        }
    }

    private mutating func note(_ report: DatabaseReport?, of label: DatabaseName?) {
        guard let report else { return }
        if let proof = report.census { database.census[label] = proof }
        if let schema = report.schema { database.schema[label] = schema }
        if let place = report.place { database.places[label] = place }
        if let other = report.leftOutBy { database.leftOutBy[label] = other }
        if let refused = report.refused { database.refused[label] = refused }
        if let seen = report.sessions {
            database.sessions[label] = database.sessions[label]?.merged(with: seen) ?? seen
        }
        // Of a run that goes forward again nobody says that it is not as before.
        if direction == .back, let changes = report.schemaChanges {
            database.schemaChanges[label] = changes
        }
    }

    private mutating func turnBack(_ turned: TurnedBack) {
        direction = .back
        standing = .active
        reason = turned.reason
        advice = turned.advice
        // What was frozen goes on again.
        for node in members.keys { members[node]?.frozenConnections = [] }
        planWayBack()
        current = nil
        quarantinedAtTurn = quarantined.count
        database.abandon()
        if let stamp = turned.stamp { requests.insert(stamp.request) }
    }

    private mutating func planWayBack() {
        itinerary = Itinerary.back(
            Itinerary.forward(plan, batches: batches.count), undoing: undoing)
    }

    /// The write window: from the first word to close a gate until every gate is open.
    private mutating func noteWindow(at instant: Instant) {
        if windowOpened == nil, begun.contains(.closed) { windowOpened = instant }
        if windowClosed == nil, windowOpened != nil, let current, current.step == .opened,
            current.pending.isEmpty
        {
            windowClosed = instant
        }
    }
}

extension Run.Member {
    /// Why a node that joins during a run is quarantined.
    static let joined = "appeared during the run; upgraded as an extra batch"
}

extension RunEvent {
    /// Whether another step is current after it, or the same one of other nodes, so that the last statuses may say more than
    /// they did.
    fileprivate var changesWhatIsAsked: Bool {
        switch self {
        case .nodeReached, .nodeSurveyed, .nodeFailed, .passOffered, .toolEnded,
            .databaseTaskStarted, .databaseTaskEnded, .databaseLeftOut,
            .paused, .resumed, .approved, .aborted, .drainCutShort, .oldReleaseSeen:
            false
        case .created, .stepBegan, .nodeQuarantined, .nodeReadmitted, .nodeJoined, .retried,
            .mended, .claimed, .schemaAccepted, .nodeTakenOff, .nodeHeardAgain, .turnedForward,
            .turnedBack, .standbySeen,
            .stopped, .ended:
            true
        }
    }
}
