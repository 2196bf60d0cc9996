// SPDX-License-Identifier: Apache-2.0

import CPostgres
import Dispatch

/// Asks the server to cancel what a session is doing.
///
/// SAFETY: `PGcancel` is made once and never changed; libpq's manual ("Canceling Queries in Progress") allows PQcancel
/// from another thread than the session's, even after the session is gone. That is why it may be Sendable.
final class Canceller: @unchecked Sendable {
    private static let queue = DispatchQueue(
        label: "sluice.postgres.cancel", attributes: .concurrent)
    private let handle: OpaquePointer

    init(_ handle: OpaquePointer) { self.handle = handle }

    deinit { PQfreeCancel(handle) }

    /// Sends the request over a connection of its own; the answer, if any, comes to the cancelled statement.
    func cancel() async {
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            Canceller.queue.async {
                var message = [CChar](repeating: 0, count: 256)
                PQcancel(self.handle, &message, Int32(message.count))
                done.resume()
            }
        }
    }
}
