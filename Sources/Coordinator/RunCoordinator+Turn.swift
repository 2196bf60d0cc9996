// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Logging
import Metrics
import RunStore
import SteadyClock
import UpgradeEngine
import UpgradeModel

extension RunCoordinator {
    /// Whoever waits for an answer, and what it is.
    private typealias Reply = (
        waiting: CheckedContinuation<Result<Void, APIError>, Never>, result: Result<Void, APIError>
    )

    /// Takes in all that is pending, and does what follows.
    func turn(_ group: inout ThrowingDiscardingTaskGroup<any Error>) async throws {
        let now = clock.now
        var turn = Turn()
        var replies: [Reply] = []
        let queued = pending
        pending = []
        for item in queued { step(item, at: now, &turn, &replies) }
        if let due = wakeAt, due <= now {
            step(QueuedInput(input: .time, reply: nil), at: now, &turn, &replies)
        }
        for effect in turn.effects { try await interpret(effect, replies, &group) }
        arm(&group)
        // Nodes and the database are at work already while it is written down for people.
        for append in turn.appends { remember(append) }
    }

    private func step(
        _ queued: QueuedInput, at now: Instant, _ turn: inout Turn, _ replies: inout [Reply]
    ) {
        var result: Result<Void, APIError> = .success(())
        do throws(Refusal) {
            let ready = try core.step(queued.input, at: now)
            turn.add(ready, after: queued.input)
            wakeAt = ready.wakeAt
        } catch {
            result = .failure(APIError(error))
        }
        if let reply = queued.reply { replies.append((reply, result)) }
    }

    private func interpret(
        _ effect: Turn.Effect, _ replies: [Reply],
        _ group: inout ThrowingDiscardingTaskGroup<any Error>
    ) async throws {
        switch effect {
        case .store(let appends):
            do {
                try await store(appends)
            } catch {
                for reply in replies { reply.waiting.resume(returning: .failure(.ended)) }
                throw CoordinatorFault.notStored(error)
            }
        case .publish(let readies):
            for ready in readies { published.apply(ready) }
        case .speak(let directives, let changed):
            speak(directives, changed)
            for reply in replies { reply.waiting.resume(returning: reply.result) }
        case .serveDatabases(let runs):
            serveDatabases(of: runs, &group)
        }
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

    private func speak(_ directives: [NodeName: Directive], _ changed: Set<RunIdentifier>) {
        for (node, directive) in directives {
            for poll in parked.removeValue(forKey: node) ?? [] {
                poll.poll.resume(returning: directive)
            }
        }
        for run in changed { watchers.signal(run) }
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
