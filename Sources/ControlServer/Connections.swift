// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import Synchronization

/// Every open connection: how many there may be, and which ends when there are too many.
///
/// A connection without an accepted token is a stranger's. Strangers end first and soon. When every place is taken, a connection on
/// which nothing is under way ends, or the first that has been answered: its client makes a new one when it has something to ask. So
/// one place is free for whoever comes next.
final class Connections: Sendable {
    private struct Entry {
        var channel: any Channel
        /// A token was accepted on it.
        var isKnown = false
        /// A request is under way.
        var isBusy = false
        var idleSince: ContinuousClock.Instant
    }

    private struct State {
        var entries: [ObjectIdentifier: Entry] = [:]
        var strangers = 0
        var saidAt: ContinuousClock.Instant?
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
        let (ended, isFull) = state.withLock { state in
            state.entries[ObjectIdentifier(channel)] = Entry(channel: channel, idleSince: now)
            state.strangers += 1
            let isFull = state.entries.count >= limit
            let ended =
                isFull
                ? leastNeeded(state, besides: channel, at: now) : surplusStranger(state, at: now)
            let isSaid = isFull && state.saidAt.map { now - $0 > .seconds(60) } ?? isFull
            if isSaid { state.saidAt = now }
            return (ended, isSaid)
        }
        if isFull {
            log.warning(
                "every connection that may be open is; idle ones are closed for new ones",
                metadata: ["connections": "\(limit)", "raise": "LimitNOFILE= or ulimit -n"])
        }
        ended?.close(promise: nil)
    }

    /// The longest idle: a stranger's, otherwise any; not the one that has just come.
    ///
    /// A stranger may be about to show its token, so it has a second, as long as there are few of them.
    private func leastNeeded(
        _ state: State, besides new: (any Channel)? = nil, at now: ContinuousClock.Instant
    ) -> (any Channel)? {
        let idle = state.entries.values.filter { !$0.isBusy && $0.channel !== new }
        let isCrowd = state.strangers > strangerLimit
        let strangers = idle.filter {
            !$0.isKnown && (isCrowd || now - $0.idleSince >= .seconds(1))
        }
        let known = idle.filter(\.isKnown)
        let first = strangers.isEmpty ? known.isEmpty ? idle : known : strangers
        return first.min { $0.idleSince < $1.idleSince }?.channel
    }

    /// A client that has just come may be about to show its token, so it has a second.
    private func surplusStranger(
        _ state: State, at now: ContinuousClock.Instant
    ) -> (any Channel)? {
        guard state.strangers > strangerLimit else { return nil }
        return state.entries.values
            .filter { !$0.isKnown && !$0.isBusy && now - $0.idleSince > .seconds(1) }
            .min { $0.idleSince < $1.idleSince }?.channel
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
        state.withLock { state in
            guard state.entries[ObjectIdentifier(channel)]?.isKnown == false else { return }
            state.entries[ObjectIdentifier(channel)]?.isKnown = true
            state.strangers -= 1
        }
    }

    func setBusy(
        _ isBusy: Bool, _ channel: any Channel, at now: ContinuousClock.Instant = .now
    ) {
        let ended: (any Channel)? = state.withLock { state in
            state.entries[ObjectIdentifier(channel)]?.isBusy = isBusy
            state.entries[ObjectIdentifier(channel)]?.idleSince = now
            // When every place was taken by one in use, nobody else can say that a place is wanted: whoever wants it is not let in.
            guard !isBusy, state.entries.count >= limit else { return nil }
            return leastNeeded(state, at: now)
        }
        ended?.close(promise: nil)
    }

    /// Whether it is a stranger's and nothing has been under way on it for this long.
    func isStale(
        _ channel: any Channel, after patience: Duration, at now: ContinuousClock.Instant = .now
    ) -> Bool {
        state.withLock { state in
            guard let entry = state.entries[ObjectIdentifier(channel)] else { return false }
            return !entry.isKnown && !entry.isBusy && now - entry.idleSince >= patience
        }
    }
}
