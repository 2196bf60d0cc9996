// SPDX-License-Identifier: Apache-2.0

public import Dispatch

/// Runs an actor's jobs on a queue of its own, where it may block: on an fsync, on libpq, on a gate.
///
/// The shared pool has one thread a core; one of them waiting for a disk is half of two.
public final class QueueExecutor: SerialExecutor {
    /// For timers and sources of the same actor.
    public let queue: DispatchQueue

    public init(label: String, qos: DispatchQoS = .unspecified) {
        queue = DispatchQueue(label: label, qos: qos)
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    public func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
