// SPDX-License-Identifier: Apache-2.0

internal import Dispatch

/// A thread of its own for an actor whose work blocks on a disk, so that it never holds a thread of the shared pool.
final class DiskExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "releases")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
