// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Pauses between attempts that wait for locks: each longer than such a wait, and longer than the pause before, so that those
/// who had to queue behind an attempt have most of the time for themselves.
struct Backoff: Sendable {
    private var next: Int64
    private let most: Int64

    init(after wait: Span, most: Span) {
        next = max(10, wait.milliseconds)
        self.most = max(next, most.milliseconds)
    }

    /// The next pause, of a random length between one and two times the last.
    mutating func pause() -> Span {
        defer { next = min(most, next * 2) }
        return .milliseconds(Int64.random(in: next...(next * 2)))
    }
}

extension SchemaUpgrade {
    /// Pauses, but not past the deadline, and not after the task was told to stop.
    func rest(_ backoff: inout Backoff, until deadline: ContinuousClock.Instant) async throws {
        let end = min(deadline, ContinuousClock.now.advanced(by: backoff.pause().duration))
        while ContinuousClock.now < end {
            try checkCancellation()
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
