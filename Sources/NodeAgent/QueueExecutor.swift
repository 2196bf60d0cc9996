// SPDX-License-Identifier: Apache-2.0

import Dispatch

/// Runs an actor on a queue of its own, where it may block: on an fsync, or on the gate.
///
/// The shared pool has one thread a core; one of them waiting for a disk is half of them.
final class QueueExecutor: SerialExecutor {
    let queue: DispatchQueue

    init(_ label: String) { queue = DispatchQueue(label: label, qos: .userInitiated) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
