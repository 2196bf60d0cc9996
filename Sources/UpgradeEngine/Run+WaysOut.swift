// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

/// What a person brings to a run that waits, so that it does not wait for ever.
public enum Demand: Hashable, Sendable {
    /// Down files that count instead of those that do not work; kept as blobs.
    case mend([MigrationReference])
    /// What was done or undone by hand.
    case claim([MigrationClaim])
    /// A run that goes back goes forward again.
    case goForward
    /// The schema stays as it is, although it is not as it was before.
    case acceptSchema
    /// A node is off, and is not waited for.
    case takeOff(NodeName)
}

extension Run {
    func demandFacts(
        _ demand: Demand, _ stamp: RequestStamp, _ observations: Observations, at now: Instant
    ) throws(Refusal) -> [RunEvent] {
        if requests.contains(stamp.request) { return [] }
        if isEnded { throw .ended(state) }
        switch demand {
        case .mend(let files):
            guard isStopped, isUndoingMigrations else { throw .nothingToResolve }
            for file in files where !isDownFile(file.name) { throw .noSuchMigration(file.name) }
            let files = files.map {
                MigrationReference(name: $0.name, digest: $0.digest, database: databaseAtWork)
            }
            return [.mended(Mended(files: files, stamp: stamp))] + beginAgain
        case .claim(let claims):
            let state: MigrationClaim.State = direction == .back ? .undone : .done
            guard isStopped, isUndoingMigrations || isApplyingMigrations,
                claims.allSatisfy({ $0.state == state })
            else { throw .nothingToResolve }
            for claim in claims where !hasMigration(claim.version) {
                throw .noSuchMigration(claim.version)
            }
            return [.claimed(Claimed(claims: claims, stamp: stamp))] + beginAgain
        case .goForward:
            guard direction == .back else { throw .goingForward }
            guard isStopped else { throw .nothingToRetry }
            guard database.promotion == .none else { throw .promoted }
            guard mayGoForward else {
                throw .tooManyQuarantined(
                    quarantined.count, allowed: plan.rollout.failureBudget)
            }
            return goForward(stamp)
        case .acceptSchema:
            guard isStopped, let current, maySchemaStay else { throw .nothingToResolve }
            return [.schemaAccepted(stamp)] + begins(current.step, or: current)
        case .takeOff(let node):
            return try takeOffFacts(node, stamp, observations, at: now)
        }
    }

    private var isStopped: Bool {
        if case .stopped = standing { true } else { false }
    }

    /// Whether the current step waits because the schema is not as it should be, with a release served on it.
    private var maySchemaStay: Bool {
        switch current?.definition.task {
        case .revertExpand, .compareSchema:
            direction == .back && database.schemaChanges[databaseAtWork]?.isEmpty == false
        case .settleExpand, .judgeRevertExpand, .judgeContract: isToolJudged
        default: false
        }
    }

    var isUndoingMigrations: Bool {
        [.revertMigrate, .revertExpand].contains(current?.definition.task)
    }

    private var isApplyingMigrations: Bool {
        [.expand, .migrate, .contract].contains(current?.definition.task)
    }

    /// The files of the database at work that the run was started with.
    private var files: [MigrationReference] {
        created.migrations.filter { $0.database == databaseAtWork }
    }

    private func isDownFile(_ name: String) -> Bool {
        guard name.hasSuffix(".down.sql") else { return false }
        let up = name.dropLast(".down.sql".count) + ".up.sql"
        return files.contains { $0.name == up }
    }

    private func hasMigration(_ version: String) -> Bool {
        guard let number = Int(version) else { return false }
        return files.contains {
            $0.name.hasSuffix(".up.sql") && Int($0.name.prefix { $0 != "_" }) == number
        }
    }

    // MARK: Nodes

    /// A person vouches for a node that says nothing; one that speaks says for itself what it is.
    private func takeOffFacts(
        _ node: NodeName, _ stamp: RequestStamp, _ observations: Observations, at now: Instant
    ) throws(Refusal) -> [RunEvent] {
        guard let member = members[node] else { throw .unknownNode(node) }
        guard direction == .forward else { throw .alreadyTurningBack }
        if member.isOff { return [] }
        if !observations.isSilent(node, at: now, since: ledSince) { throw .nodeIsHeard(node) }
        if participants.allSatisfy({ $0 == node }) { throw .lastNode(node) }
        let taken = RunEvent.nodeTakenOff(NodeTakenOff(node: node, stamp: stamp))
        return isStopped ? [taken] + beginAgain : [taken]
    }

    mutating func takeOff(_ taken: NodeTakenOff) {
        let why = taken.stamp.reason.map { ": \($0)" } ?? ""
        members[taken.node]?.isOff = true
        members[taken.node]?.quarantine = "off, says \(taken.stamp.by)\(why)"
        current?.failed[taken.node] = nil
        if isStopped { tryAgain(taken.stamp) } else { requests.insert(taken.stamp.request) }
    }

    // MARK: Again

    /// What every way of trying again begins with.
    mutating func tryAgain(_ stamp: RequestStamp) {
        standing = .active
        for label in database.slots.keys { database[label].failures = 0 }
        database.doneEarly = []
        drainBegan = nil
        if let step = current?.step { retries[step, default: 0] += 1 }
        requests.insert(stamp.request)
    }

    mutating func mend(with mended: Mended) {
        self.mended.removeAll { old in mended.files.contains { $0.isSameFile(as: old) } }
        self.mended += mended.files
        tryAgain(mended.stamp)
    }

    // MARK: Forward

    /// Whether the plan allows to leave those behind that were lost on the way back.
    var mayGoForward: Bool {
        database.promotion == .none
            && quarantined.count <= max(plan.rollout.failureBudget, quarantinedAtTurn)
    }

    private func goForward(_ stamp: RequestStamp) -> [RunEvent] {
        let steps = Itinerary.forward(plan, batches: batches.count)
        let index = firstUndone(steps)
        let next = steps[index]
        return [
            .turnedForward(TurnedForward(step: next.step, stamp: stamp)),
            .stepBegan(
                StepBegan(direction: .forward, index: index, phase: next.phase, step: next.step)),
        ]
    }

    /// The first step that is undone, or half undone; where nothing is yet, the one at which the run turned back.
    ///
    /// What every node has to say before the migration, it says anew.
    private func firstUndone(_ steps: [any StepDefinition]) -> Int {
        let undoing = undoing
        let undone = steps.firstIndex { step in
            begun.contains(step.step)
                && step.undo(undoing).contains {
                    $0.step.touches && begunBack.contains($0.step)
                }
        }
        let last = steps.lastIndex { begun.contains($0.step) } ?? 0
        let first = undone ?? last
        let saidAnew = steps.firstIndex {
            type(of: $0).isSaidAnew && begun.contains($0.step)
        }
        return min(first, saidAnew ?? first)
    }

    /// What has begun stays known as begun, so that a second way back undoes all of it; everything that is done again is done
    /// under identities of its own.
    mutating func turnForward(_ turned: TurnedForward) {
        let steps = Itinerary.forward(plan, batches: batches.count)
        guard let index = steps.firstIndex(where: { $0.step == turned.step }) else { return }
        for step in Set(steps[index...].map(\.step)).union(begunBack) {
            retries[step, default: 0] += 1
            proved[step] = nil
            if step.word == HookUndoStep.word { begun.remove(step) }
        }
        // A window that was over is over: the next one is measured by itself.
        if windowClosed != nil, begunBack.contains(.opened) {
            begun.remove(.closed)
            windowOpened = nil
            windowClosed = nil
        }
        turns += 1
        takeInAgain(from: index, of: steps)
        for node in members.keys { members[node]?.frozenConnections = [] }
        acceptedSchemas = []
        database.standbyLoss = nil
        database.standbyTroubles = []
        database.schemaChanges = [:]
        direction = .forward
        isPromotionDecided = nil
        standing = .active
        itinerary = steps
        current = nil
        reason = nil
        advice = nil
        asking = []
        for step in steps[..<index] where begun.contains(step.step) {
            Run.note(step, in: &asking)
        }
        askingBack = []
        begunBack = []
        drainBegan = nil
        database.abandon()
        made = MadeGoals()
        requests.insert(turned.stamp.request)
    }
}

extension Observations {
    /// Whether a node has said nothing for so long that nobody counts on it. Of a leader that has only begun, nobody knows.
    func isSilent(_ node: NodeName, at now: Instant, since led: Instant?) -> Bool {
        let last = self[node]?.at ?? led
        return last.map { now - $0 > Observations.silence } ?? true
    }

    static let silence = Span.seconds(15)
}
