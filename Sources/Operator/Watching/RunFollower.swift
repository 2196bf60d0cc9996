// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import FoundationEssentials
internal import Synchronization
internal import UpgradeEngine
internal import UpgradeModel

/// Something to tell while a run is watched.
enum WatchUpdate: Sendable {
    /// How the run stands now.
    case view(ReceivedView)
    /// The next fact of the run: each once, in order, none left out.
    case fact(ReceivedFact)
    case connectionLost(CommandFailure)
    case connectionRestored
}

/// Follows a run to its end, across restarts of the coordinator.
struct RunFollower: Sendable {
    let client: CoordinatorClient
    let run: RunIdentifier
    /// How long a coordinator may be away before the watching gives up. The run does not.
    var patience: Duration = .seconds(600)
    /// How many nodes are looked at; `nil` for all.
    var nodes: Int?

    /// What has been told so far.
    private struct Progress {
        var version: Int64 = 0
        var exit: CommandExit?
        var state: RunState?
    }

    /// Watches until the run has ended or waits for a person.
    ///
    /// - Returns: the state that it was watched to.
    func follow(_ tell: (WatchUpdate) async -> Void) async throws(CommandFailure) -> RunState {
        var progress = Progress()
        var pause = Duration.milliseconds(100)
        var lostSince: ContinuousClock.Instant?
        while true {
            var wasHeard = false
            let failure = await streamOnce(&progress) { update in
                if !wasHeard, lostSince != nil { await tell(.connectionRestored) }
                wasHeard = true
                await tell(update)
            }
            if let state = progress.state, CommandExit(state) != nil { return state }
            if Task.isCancelled {
                throw CommandFailure(.detached, code: "detached", "watching was stopped")
            }
            if let failure, !failure.isTransient { throw failure }
            if wasHeard {
                lostSince = nil
                pause = .milliseconds(100)
            }
            // A stream that ends in good order and has told nothing is no better than one that breaks.
            let trouble =
                failure ?? (wasHeard ? nil : CommandFailure(silentAt: client.connection.url))
            if let trouble {
                if lostSince == nil { await tell(.connectionLost(trouble)) }
                lostSince = lostSince ?? .now
            }
            if let lostSince, lostSince.duration(to: .now) > patience {
                throw CommandFailure(
                    code: "unreachable",
                    "the coordinator at \(client.connection.url) has been away for \(patience.components.seconds) s",
                    advice:
                        "start it again; it takes the run up where it was. Then: sluice status \(run) --watch"
                )
            }
            // Cancelled while it waits: the next turn says so.
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(2))
        }
    }

    /// One connection, to its end.
    ///
    /// - Returns: why it broke; `nil` when the coordinator ended it in good order.
    private func streamOnce(
        _ progress: inout Progress, _ tell: (WatchUpdate) async -> Void
    ) async -> CommandFailure? {
        let (arrivals, bell) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let after = progress.version
        let inbox = Inbox()
        return await withTaskGroup(of: CommandFailure?.self) { group in
            group.addTask {
                let failure = await receive(after: after, into: inbox, bell)
                bell.finish()
                return failure
            }
            var rings = arrivals.makeAsyncIterator()
            var isOpen = true
            while isOpen {
                isOpen = await rings.next() != nil
                for event in inbox.empty() {
                    let step = await handle(event, &progress, tell)
                    if step == .goOn { continue }
                    // What had come is told; a stream that is over is not waited for.
                    group.cancelAll()
                    return step == .over
                        ? nil : CommandFailure(notUnderstoodAt: client.connection.url)
                }
            }
            if Task.isCancelled { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    private func receive(
        after version: Int64, into inbox: Inbox, _ bell: AsyncStream<Void>.Continuation
    ) async -> CommandFailure? {
        let reader = Mutex((parser: ServerSentEventParser(), isFlooded: false))
        do throws(CommandFailure) {
            try await client.stream(run, after: version, nodes: nodes) { bytes in
                reader.withLock { reader in
                    guard let events = try? reader.parser.parse(bytes) else { return false }
                    // A reader that is this far behind begins again from where it is.
                    let isKept = inbox.add(events)
                    bell.yield()
                    reader.isFlooded = !isKept
                    return isKept
                }
            }
            return nil
        } catch {
            return reader.withLock { $0.isFlooded } ? nil : error
        }
    }

    private enum Step { case goOn, over, notUnderstood }

    private func handle(
        _ event: ServerSentEvent, _ progress: inout Progress, _ tell: (WatchUpdate) async -> Void
    ) async -> Step {
        let data = Data(event.data.utf8)
        switch event.name {
        case "fact":
            guard let fact = try? JSONDecoder().decode(ReceivedFact.self, from: data) else {
                return .notUnderstood
            }
            if fact.version > progress.version + 1 {
                await catchUp(to: fact.version - 1, &progress, tell)
            }
            await handle(fact, &progress, tell)
            return .goOn
        case "view":
            guard let view = try? JSONDecoder().decode(ReceivedView.self, from: data) else {
                return .notUnderstood
            }
            let isOver = view.state.flatMap { CommandExit($0) } != nil
            if isOver { await catchUp(to: view.version, &progress, tell) }
            await tell(.view(view))
            progress.state = view.state
            return isOver ? .over : .goOn
        default:
            return .goOn
        }
    }

    private func handle(
        _ fact: ReceivedFact, _ progress: inout Progress, _ tell: (WatchUpdate) async -> Void
    ) async {
        guard fact.version > progress.version else { return }
        progress.version = fact.version
        await tell(.fact(fact))
    }

    /// Facts that the stream has not brought are read from the journal.
    private func catchUp(
        to version: Int64, _ progress: inout Progress, _ tell: (WatchUpdate) async -> Void
    ) async {
        guard version > progress.version, let journal = try? await client.journal(of: run) else {
            return
        }
        for entry in journal.entries where entry.version <= version {
            await handle(entry, &progress, tell)
        }
    }
}

/// Events that have come and are not told yet. Of views only the latest waits: whoever reads slowly sees how it is, not how it was.
private final class Inbox: Sendable {
    private static let limit = 256 << 20
    private let waiting = Mutex((events: [ServerSentEvent](), bytes: 0, view: Int?.none))

    /// - Returns: false when it is too much.
    func add(_ events: [ServerSentEvent]) -> Bool {
        waiting.withLock { waiting in
            for event in events {
                if event.name == "view" {
                    if let old = waiting.view {
                        waiting.bytes -= waiting.events[old].data.utf8.count
                        waiting.events[old].name = "replaced"
                        waiting.events[old].data = ""
                    }
                    waiting.view = waiting.events.count
                }
                waiting.events.append(event)
                waiting.bytes += event.data.utf8.count
            }
            return waiting.bytes <= Inbox.limit && waiting.events.count <= 1 << 20
        }
    }

    func empty() -> [ServerSentEvent] {
        waiting.withLock { waiting in
            defer { waiting = ([], 0, nil) }
            return waiting.events
        }
    }
}
