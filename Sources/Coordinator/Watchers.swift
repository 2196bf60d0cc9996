// SPDX-License-Identifier: Apache-2.0

import Synchronization
import UpgradeModel

/// Who watches which run. A signal only says that there is something new, so a slow watcher costs one bit.
final class Watchers: Sendable {
    private struct State {
        var next = 0
        var isFinished = false
        var watching: [RunIdentifier: [Int: AsyncStream<Void>.Continuation]] = [:]
    }

    private let state = Mutex(State())

    /// Signals at once, and whenever the run may have changed, until the stream is dropped.
    func add(_ run: RunIdentifier) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream<Void>.makeStream(
            bufferingPolicy: .bufferingNewest(1))
        let ticket: Int? = state.withLock { state in
            if state.isFinished { return nil }
            state.next += 1
            state.watching[run, default: [:]][state.next] = continuation
            return state.next
        }
        guard let ticket else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in self?.remove(ticket, run) }
        continuation.yield()
        return stream
    }

    func signal(_ run: RunIdentifier) {
        state.withLock { state in
            for continuation in (state.watching[run] ?? [:]).values { continuation.yield() }
        }
    }

    func finish() {
        // Outside the lock: ending a stream calls `remove`.
        let all = state.withLock { state in
            state.isFinished = true
            return state.watching.values.flatMap(\.values)
        }
        for continuation in all { continuation.finish() }
    }

    private func remove(_ ticket: Int, _ run: RunIdentifier) {
        state.withLock { state in
            state.watching[run]?[ticket] = nil
            if state.watching[run]?.isEmpty == true { state.watching[run] = nil }
        }
    }
}
