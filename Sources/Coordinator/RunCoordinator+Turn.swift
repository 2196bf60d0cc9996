// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Logging
import Metrics
import RunStore
import SteadyClock
import UpgradeEngine
import UpgradeModel

extension RunCoordinator {
    /// Everything that followed from the inputs of one turn.
    private struct Outcome {
        var appends: [RunAppend] = []
        var directives: [NodeName: Directive] = [:]
        /// All that followed, in its order, for what is published.
        var readies: [Ready] = []
        var changed: Set<RunIdentifier> = []
        var replies:
            [(CheckedContinuation<Result<Void, APIError>, Never>, Result<Void, APIError>)] = []

        /// What a thousand statuses lead to in one turn is one append of a thousand events.
        mutating func add(_ append: RunAppend) {
            guard append.claim == nil,
                let index = appends.lastIndex(where: { $0.run == append.run })
            else { return appends.append(append) }
            appends[index].events += append.events
        }
    }

    /// Takes in all that is pending, stores what follows in one append, then speaks.
    func turn(_ group: inout ThrowingDiscardingTaskGroup<any Error>) async throws {
        let now = clock.now
        var outcome = Outcome()
        let heard = pending
        pending = []
        for item in heard { step(item, at: now, &outcome) }
        if let due = wakeAt, due <= now { step(Heard(input: .time, reply: nil), at: now, &outcome) }
        do {
            try await store(outcome.appends)
        } catch {
            for (reply, _) in outcome.replies { reply.resume(returning: .failure(.ended)) }
            throw CoordinatorFault.notStored(error)
        }
        for ready in outcome.readies { published.apply(ready) }
        speak(outcome)
        serveDatabases(of: outcome.changed, &group)
        arm(&group)
        // Nodes and the database are at work already while it is written down for people.
        for append in outcome.appends { remember(append) }
    }

    private func step(_ heard: Heard, at now: Instant, _ outcome: inout Outcome) {
        var result: Result<Void, APIError> = .success(())
        do throws(Refusal) {
            let ready = try core.step(heard.input, at: now)
            for append in ready.appends { outcome.add(append) }
            outcome.directives.merge(ready.directives) { $1 }
            outcome.readies.append(ready)
            outcome.changed.formUnion(ready.changed)
            outcome.changed.formUnion(ready.appends.map(\.run))
            // Also when it changed nothing: the run may want its next task.
            if case .databaseEnded(let run, _, _) = heard.input { outcome.changed.insert(run) }
            wakeAt = ready.wakeAt
        } catch {
            result = .failure(APIError(error))
        }
        if let reply = heard.reply { outcome.replies.append((reply, result)) }
    }

    private func store(_ appends: [RunAppend]) async throws(StoreFailure) {
        guard !appends.isEmpty else { return }
        let began = ContinuousClock.now
        try await ports.journal.append(appends.map(EventCoding.append))
        Timer(label: "sluice_append_seconds").recordNanoseconds(
            (ContinuousClock.now - began).nanoseconds)
        Counter(label: "sluice_events_total").increment(
            by: appends.reduce(0) { $0 + $1.events.count })
    }

    private func remember(_ append: RunAppend) {
        if append.expectedVersion == 0 { recent = recent.filter { core.run($0.key) != nil } }
        for (offset, event) in append.events.enumerated() {
            recent[append.run, default: []].append(
                JournalEntry(
                    version: append.expectedVersion + Int64(offset) + 1, epoch: append.epoch,
                    at: append.at, event: event))
            log.log(
                level: event.isOfOneNodeInStep ? .debug : .info, "\(event.type)",
                metadata: [
                    "run": "\(append.run)",
                    "version": "\(append.expectedVersion + Int64(offset) + 1)",
                ])
        }
        // Cut by half now and then, so that an append costs what it adds.
        if let count = recent[append.run]?.count, count > 2 * Self.recentLimit {
            recent[append.run]?.removeFirst(count - Self.recentLimit)
        }
    }

    private func speak(_ outcome: Outcome) {
        for (node, directive) in outcome.directives {
            for poll in parked.removeValue(forKey: node) ?? [] {
                poll.poll.resume(returning: directive)
            }
        }
        for (reply, result) in outcome.replies { reply.resume(returning: result) }
        for run in outcome.changed { watchers.signal(run) }
    }

    /// Sleeps until the core wants to know the time; a sleep that is not wanted any more wakes for nothing.
    private func arm(_ group: inout ThrowingDiscardingTaskGroup<any Error>) {
        guard let wakeAt else { return }
        if let armedFor, armedFor <= wakeAt { return }
        armedFor = wakeAt
        // Never less than a millisecond: a deadline that stays in the past must not keep a core busy.
        let span = Duration.milliseconds(max(1, (wakeAt - clock.now).milliseconds))
        group.addTask {
            try? await Task.sleep(for: span)
            await self.wake()
        }
    }
}

extension RunEvent {
    /// What every node of a fleet says at every step: a log with a line for each would have nothing else.
    fileprivate var isOfOneNodeInStep: Bool {
        switch self {
        case .nodeReached, .nodeSurveyed: true
        default: false
        }
    }
}

extension Duration {
    var nanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
}
