// SPDX-License-Identifier: Apache-2.0

import CPostgres
import Dispatch
import Synchronization

/// Asks the server to cancel what a session is doing.
///
/// SAFETY: `PGcancel` is made once and never changed; libpq's manual ("Canceling Queries in Progress") allows PQcancel
/// from another thread than the session's, even after the session is gone. That is why it may be Sendable.
final class Canceller: @unchecked Sendable {
    private static let queue = DispatchQueue(
        label: "sluice.postgres.cancel", attributes: .concurrent)
    private let handle: OpaquePointer
    /// Whether a request is on its way; in a partition it may be for minutes, and a second one would only wait as well.
    private let isSending = Atomic(false)

    init(_ handle: OpaquePointer) { self.handle = handle }

    deinit { PQfreeCancel(handle) }

    /// Sends the request over a connection of its own; the answer, if any, comes to the cancelled statement.
    ///
    /// libpq waits as long as the kernel does for a server that does not answer; the caller waits for `patience` at most.
    func cancel(patience: Duration) async {
        guard
            isSending.compareExchange(
                expected: false, desired: true, ordering: .acquiringAndReleasing
            )
            .exchanged
        else { return }
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            let once = ResumeOnce(done)
            Canceller.queue.async {
                var message = [CChar](repeating: 0, count: 256)
                PQcancel(self.handle, &message, Int32(message.count))
                self.isSending.store(false, ordering: .releasing)
                once.resume()
            }
            Canceller.queue.asyncAfter(deadline: .now() + .milliseconds(patience.milliseconds)) {
                once.resume()
            }
        }
    }
}

/// A continuation that two may want to resume; the first one does.
private final class ResumeOnce: Sendable {
    private let continuation: Mutex<CheckedContinuation<Void, Never>?>

    init(_ continuation: CheckedContinuation<Void, Never>) {
        self.continuation = Mutex(continuation)
    }

    func resume() {
        continuation.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }?.resume()
    }
}

extension Duration {
    fileprivate var milliseconds: Int {
        Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000)
    }
}
