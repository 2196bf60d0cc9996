// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Synchronization

/// Every open connection: how many there may be, and which ends when there are too many.
///
/// A connection without an accepted token is a stranger's. Strangers end first and soon. When every place is taken, a connection on
/// which nothing is under way ends, or the first that has been answered: its client makes a new one when it has something to ask. So
/// one place is free for whoever comes next.
///
/// When a whole fleet comes back at once, the loops are behind: a request may lie in its socket, unread. So a connection ends only
/// after its own loop has read what there was.
final class Connections: Sendable {
    fileprivate struct Entry {
        var channel: any Channel
        /// A token was accepted on it.
        var isKnown = false
        /// Its turn among the idle ones; nil while a request is under way.
        var turn: UInt64?
        var idleSince: ContinuousClock.Instant
    }

    fileprivate struct State {
        var entries: [ObjectIdentifier: Entry] = [:]
        var strangers = 0
        var turns: UInt64 = 0
        var idleStrangers = IdleQueue()
        var idleKnown = IdleQueue()
        var saidAt: ContinuousClock.Instant?
    }

    fileprivate struct Candidate {
        var channel: any Channel
        var turn: UInt64
    }

    /// Open at once; what comes beyond waits with the operating system.
    let limit: Int
    /// Of them, without an accepted token and older than a second.
    let strangerLimit: Int
    private let log: Logger
    private let state = Mutex(State())

    init(limit: Int, log: Logger) {
        self.limit = limit
        strangerLimit = max(8, limit / 8)
        self.log = log
    }

    var count: Int { state.withLock { $0.entries.count } }

    func add(_ channel: any Channel, at now: ContinuousClock.Instant = .now) {
        let (candidate, isFull) = state.withLock { state in
            // Chosen before the new one stands in the queue: it is never the one that ends.
            let isFull = state.entries.count + 1 >= limit
            state.strangers += 1
            let candidate =
                isFull
                ? state.leastNeeded(at: now, isCrowd: state.strangers > strangerLimit)
                : state.strangers > strangerLimit ? state.ripeStranger(at: now) : nil
            state.entries[ObjectIdentifier(channel)] = Entry(channel: channel, idleSince: now)
            state.fallIdle(ObjectIdentifier(channel), at: now)
            let isSaid = isFull && state.saidAt.map { now - $0 > .seconds(60) } ?? isFull
            if isSaid { state.saidAt = now }
            return (candidate, isSaid)
        }
        if isFull {
            log.warning(
                "every connection that may be open is; idle ones are closed for new ones",
                metadata: ["connections": "\(limit)", "raise": "LimitNOFILE= or ulimit -n"])
        }
        if let candidate { end(candidate) }
    }

    /// Ends it when nothing is under way on it after its loop has read whatever has come.
    private func end(_ candidate: Candidate) {
        let loop = candidate.channel.eventLoop
        // The second time comes after a look at every socket of the loop, begun after now.
        loop.execute { [self] in
            loop.execute { [self] in
                let isStill = state.withLock {
                    $0.entries[ObjectIdentifier(candidate.channel)]?.turn == candidate.turn
                }
                if isStill { candidate.channel.close(promise: nil) }
            }
        }
    }

    func remove(_ channel: any Channel) {
        state.withLock { state in
            guard let entry = state.entries.removeValue(forKey: ObjectIdentifier(channel)) else {
                return
            }
            if !entry.isKnown { state.strangers -= 1 }
        }
    }

    /// A token was accepted.
    func know(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        state.withLock { state in
            guard let entry = state.entries[key], !entry.isKnown else { return }
            state.entries[key]?.isKnown = true
            state.strangers -= 1
            if entry.turn != nil { state.fallIdle(key, at: entry.idleSince) }
        }
    }

    func setBusy(
        _ isBusy: Bool, _ channel: any Channel, at now: ContinuousClock.Instant = .now
    ) {
        let key = ObjectIdentifier(channel)
        let candidate: Candidate? = state.withLock { state in
            guard !isBusy else {
                state.entries[key]?.turn = nil
                return nil
            }
            state.fallIdle(key, at: now)
            // When every place was taken by one in use, nobody else can say that a place is wanted: whoever wants it is not let in.
            guard state.entries.count >= limit else { return nil }
            return state.leastNeeded(at: now, isCrowd: state.strangers > strangerLimit)
        }
        if let candidate { end(candidate) }
    }

    /// Whether it is a stranger's and nothing has been under way on it for this long.
    func isStale(
        _ channel: any Channel, after patience: Duration, at now: ContinuousClock.Instant = .now
    ) -> Bool {
        state.withLock { state in
            guard let entry = state.entries[ObjectIdentifier(channel)] else { return false }
            return !entry.isKnown && entry.turn != nil && now - entry.idleSince >= patience
        }
    }
}

extension Connections.State {
    mutating func fallIdle(_ key: ObjectIdentifier, at now: ContinuousClock.Instant) {
        guard let entry = entries[key] else { return }
        turns += 1
        entries[key]?.turn = turns
        entries[key]?.idleSince = now
        let place = IdleQueue.Place(connection: key, turn: turns)
        let (entries, count) = (entries, entries.count)
        if entry.isKnown {
            idleKnown.append(place)
            idleKnown.compact(connections: count) { entries[$0.connection]?.turn == $0.turn }
        } else {
            idleStrangers.append(place)
            idleStrangers.compact(connections: count) { entries[$0.connection]?.turn == $0.turn }
        }
    }

    /// The longest idle: a stranger's, otherwise any.
    ///
    /// A stranger may be about to show its token, so it has a second, as long as there are few of them.
    mutating func leastNeeded(
        at now: ContinuousClock.Instant, isCrowd: Bool
    ) -> Connections.Candidate? {
        if !isCrowd {
            return ripeStranger(at: now) ?? take(\.idleKnown) ?? take(\.idleStrangers)
        }
        return take(\.idleStrangers) ?? take(\.idleKnown)
    }

    /// The longest idle stranger's, once it has had a second.
    mutating func ripeStranger(at now: ContinuousClock.Instant) -> Connections.Candidate? {
        take(\.idleStrangers) { now - $0.idleSince >= .seconds(1) }
    }

    private mutating func take(
        _ queue: WritableKeyPath<Self, IdleQueue>,
        if isWanted: (Connections.Entry) -> Bool = { _ in true }
    ) -> Connections.Candidate? {
        let entries = entries
        guard
            let place = self[keyPath: queue].first(where: {
                entries[$0.connection]?.turn == $0.turn
            }), let entry = entries[place.connection], isWanted(entry)
        else { return nil }
        self[keyPath: queue].removeFirst()
        return Connections.Candidate(channel: entry.channel, turn: place.turn)
    }
}
