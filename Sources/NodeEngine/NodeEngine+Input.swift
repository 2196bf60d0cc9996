// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension NodeEngine {
    mutating func record(_ record: NodeJournalRecord, _ ready: inout NodeReady) {
        memory.apply(record)
        ready.journal.append(record)
    }

    mutating func handle(_ input: NodeInput, at now: Instant, _ ready: inout NodeReady) {
        switch input {
        case .directive(let directive):
            accept(directive, at: now, &ready)
        case .contact: noteContact(at: now, &ready)
        case .surveyed(let facts):
            host = facts
        case .gate(let observation):
            gate = observation
        case .effected(let goal, let failure):
            failures[goal] = failure.map {
                NodeFailure(goal: goal, message: String($0.prefix(2048)))
            }
            if failure != nil { effectsRetryAt = now + NodeEngine.effectRetryDelay }
            if goal == .service, failure == nil, let serviceSent { service = serviceSent }
        case .ended(let ended, let result):
            guard let index = works.firstIndex(of: ended) else { return }
            works.remove(at: index)
            // A retry of what nobody asks for any more keeps nothing waiting.
            if case .retryable = result, !isWanted(ended) { return }
            end(ended, result, at: now, &ready)
        case .passMade(let goal, let offer):
            if goal == memory.directive?.pass { pass = offer }
        case .breakGlass(let reason):
            record(.glassBroken(reason: reason, at: now), &ready)
        case .endBreakGlass:
            guard memory.brokenGlass != nil else { return }
            record(.breakGlassEnded(at: now), &ready)
        case .application(let release, let trouble): look(at: release, trouble)
        case .proved(let goal, let proof): noteProof(proof, of: goal)
        case .vacated(let found): noteVacancy(found)
        case .time:
            break
        }
    }

    /// Contact without news.
    mutating func noteContact(at now: Instant, _ ready: inout NodeReady) {
        renewLease(at: now)
        if memory.lease != nil { record(.leaseRenewed(at: now), &ready) }
    }

    /// Has the pass made that the directive asks for, once.
    mutating func askForPass(_ ready: inout NodeReady) {
        guard let goal = memory.directive?.pass, goal != passAsked else { return }
        passAsked = goal
        pass = nil
        ready.pass = goal
    }

    mutating func accept(_ directive: Directive, at now: Instant, _ ready: inout NodeReady) {
        // Judged before it is written down: what is in the journal is obeyed at each start. It is no contact either.
        guard directive.limitProblem == nil else { return }
        if let known = memory.directive, !directive.isNewer(than: known) {
            // A leader of an earlier epoch is no contact: its word keeps no gate closed.
            if directive.epoch == known.epoch { noteContact(at: now, &ready) }
            return
        }
        renewLease(at: now)
        failures = failures.filter { $0.key == .gate || $0.key == .service }
        retryCount = 0
        retryAt = nil
        hasPruned = false
        askForProofAnew()
        if health?.goal != directive.health {
            health = directive.health.map { Health(goal: $0, nextAt: now) }
        }
        // Reads that pass without being asked for were let go for good; if they are held once more, that is another hold.
        if directive.reads.hold == nil { readsLetGo = nil }
        record(.accepted(directive), &ready)
        acceptedAt = now
        ready.report = true
    }

    mutating func end(
        _ ended: NodeWork, _ result: WorkResult, at now: Instant, _ ready: inout NodeReady
    ) {
        switch result {
        case .done(let facts):
            if let facts { host = facts }
            retryCount = 0
            if case .prune = ended { hasPruned = true }
        case .task(let outcome):
            record(.taskEnded(outcome.bounded), &ready)
        case .probed(let isGood, let detail):
            guard var asked = health, ended == .probe(asked.goal) else { return }
            asked.inARow = isGood ? asked.inARow + 1 : 0
            asked.detail = String(detail.prefix(512))
            // Good answers are counted quickly; a bad one is given time.
            asked.nextAt = isGood ? now : now + NodeEngine.probeInterval
            health = asked
        case .silenced(let result):
            guard case .silence(let goal) = ended else { return }
            end(goal, result, at: now, &ready)
        case .failed(let message):
            switch ended {
            case .run(let task), .resolve(let task):
                let outcome = TaskOutcome(identity: task.identity, state: .failed, output: message)
                end(ended, .task(outcome), at: now, &ready)
            case .probe: end(ended, .probed(isGood: false, detail: message), at: now, &ready)
            case .silence(let goal):
                end(goal, SilenceResult(frozen: 0, problem: message), at: now, &ready)
            case .stage: fail(.stage, message)
            case .activate: fail(.activate, message)
            case .unstage: fail(.unstage, message)
            case .prune: fail(.prune, message)
            }
        case .retryable:
            retryAt =
                now
                + Span(
                    milliseconds: NodeEngine.retryDelay.milliseconds << Int64(min(retryCount, 6)))
            retryCount += 1
        }
    }

    mutating func fail(_ goal: NodeFailure.Goal, _ message: String) {
        failures[goal] = NodeFailure(goal: goal, message: String(message.prefix(2048)))
    }
}
