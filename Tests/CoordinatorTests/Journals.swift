// SPDX-License-Identifier: Apache-2.0

import RunStore
import Synchronization
import UpgradeModel

/// A journal in front of another one: what it does not do itself, that one does.
protocol JournalInFront: Journal {
    var base: any Journal { get }
}

extension JournalInFront {
    func events(
        of run: RunIdentifier, after version: Int64, limit: Int
    ) async throws(StoreFailure) -> [StoredEvent] {
        try await base.events(of: run, after: version, limit: limit)
    }
    func runs(limit: Int) async throws(StoreFailure) -> [RunRecord] {
        try await base.runs(limit: limit)
    }
    func claims() async throws(StoreFailure) -> [FleetClaim] { try await base.claims() }
    func latestInstant() async throws(StoreFailure) -> Instant? { try await base.latestInstant() }
}

/// A journal that fails at its n-th append, and from then on.
final class FailingJournal: JournalInFront {
    let base: any Journal
    private let failure: StoreFailure
    private let left: Mutex<Int>

    init(_ base: any Journal, afterAppends count: Int, _ failure: StoreFailure) {
        self.base = base
        self.failure = failure
        left = Mutex(count)
    }

    func append(_ appends: [JournalAppend]) async throws(StoreFailure) {
        let isFailing = left.withLock { left in
            left -= 1
            return left < 0
        }
        if isFailing { throw failure }
        try await base.append(appends)
    }
}

/// A journal that keeps every append waiting until it is let go.
final class GatedJournal: JournalInFront {
    private struct State {
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var arrivals: [CheckedContinuation<Void, Never>] = []
    }

    let base: any Journal
    private let state = Mutex(State())

    init(_ base: any Journal) {
        self.base = base
    }

    /// From now on appends wait.
    func close() { state.withLock { $0.isClosed = true } }

    /// Returns when an append waits.
    func waitForAppend() async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.waiting.isEmpty { state.arrivals.append(continuation) }
                return !state.waiting.isEmpty
            }
            if isThere { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isClosed = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func append(_ appends: [JournalAppend]) async throws(StoreFailure) {
        await withCheckedContinuation { continuation in
            let (passes, arrivals) = state.withLock { state in
                guard state.isClosed else { return (true, [CheckedContinuation<Void, Never>]()) }
                state.waiting.append(continuation)
                defer { state.arrivals = [] }
                return (false, state.arrivals)
            }
            if passes { continuation.resume() }
            for arrival in arrivals { arrival.resume() }
        }
        try await base.append(appends)
    }
}
