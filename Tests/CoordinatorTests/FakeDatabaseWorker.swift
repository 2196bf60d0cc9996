// SPDX-License-Identifier: Apache-2.0

import Coordinator
import Synchronization
import UpgradeModel

/// A database that does what it is asked, except for what a test makes go wrong.
final class FakeDatabaseWorker: DatabaseWorker {
    private struct State {
        var tasks: [DatabaseTask] = []
        var failing: Set<DatabaseTask.Kind> = []
        var hanging: Set<DatabaseTask.Kind> = []
        var hung: CheckedContinuation<Void, Never>?
        var isClosed = false
        var isDeaf = false
    }

    private let state = Mutex(State())

    /// Every task that was asked for, in order.
    var tasks: [DatabaseTask] { state.withLock { $0.tasks } }
    var kinds: [DatabaseTask.Kind] { tasks.map(\.kind) }
    var isClosed: Bool { state.withLock { $0.isClosed } }

    func fail(_ kind: DatabaseTask.Kind) { state.withLock { _ = $0.failing.insert(kind) } }
    /// The kind ends only when it is cancelled.
    func hang(_ kind: DatabaseTask.Kind) { state.withLock { _ = $0.hanging.insert(kind) } }

    func perform(_ task: DatabaseTask) async -> DatabaseOutcome {
        let (isFailing, isHanging) = state.withLock { state in
            state.tasks.append(task)
            return (state.failing.contains(task.kind), state.hanging.contains(task.kind))
        }
        if isHanging {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    state.withLock { $0.hung = continuation }
                }
            } onCancel: {
                endHanging()
            }
            return .failed(DatabaseFailure(code: "cancelled", "the task was stopped"))
        }
        if isFailing { return .failed(DatabaseFailure(code: "sql", "relation does not exist")) }
        return .done(DatabaseReport(lines: ["\(task.kind)"]))
    }

    /// The next cancellations are not heard, as by a session whose server hangs.
    func turnDeaf() { state.withLock { $0.isDeaf = true } }

    func cancel(_ task: DatabaseTask) async {
        if state.withLock({ !$0.isDeaf }) { endHanging() }
    }
    func close() async { state.withLock { $0.isClosed = true } }

    private func endHanging() {
        let hung = state.withLock { state in
            state.hanging = []
            state.isDeaf = false
            return state.hung.take()
        }
        hung?.resume()
    }
}
