// SPDX-License-Identifier: Apache-2.0

import Dispatch

/// A thread of its own for work that takes the processor for long.
///
/// The shared pool has one thread a core. A plan of a megabyte parsed there, or a journal decoded, would keep the nodes and
/// `/healthz` waiting on a machine of one or two cores, on the coordinator's actor or beside it; a thread shares a core fairly.
/// What is given to one lane is done in order, so nobody takes more than one core by asking often.
final class WorkLane: Sendable {
    /// What operators send: plans, manifests, their digests.
    static let requests = WorkLane("sluice.requests")
    /// What runs in progress need: their migrations.
    static let runs = WorkLane("sluice.runs")
    /// Journals that are decoded and folded, and manifests of the past.
    static let history = WorkLane("sluice.history")

    private let queue: DispatchQueue

    private init(_ label: String) {
        queue = DispatchQueue(label: label)
    }

    func run<Value: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            queue.async {
                do throws(Failure) {
                    continuation.resume(returning: .success(try work()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}
