// SPDX-License-Identifier: Apache-2.0

import Coordinator
import Synchronization
import UpgradeModel

/// A database that does what it is asked, except for what a test makes go wrong.
final class FakeDatabaseWorker: DatabaseWorker {
    private struct State {
        var tasks: [DatabaseTask] = []
        var cancelled: [DatabaseTask] = []
        var failing: Set<DatabaseTask.Kind> = []
        var hanging: Set<DatabaseTask.Kind> = []
        var waits: [String] = []
        var progress: String?
        var sight: StandbySight?
        var isClosed = false
        var isDeaf = false
        var isHolding = false
        /// Who waits for a change of the state.
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// Every task that was asked for, in order.
    var tasks: [DatabaseTask] { state.withLock { $0.tasks } }
    var kinds: [DatabaseTask.Kind] { tasks.map(\.kind) }
    /// Every task that was told to end, in order.
    var cancelled: [DatabaseTask] { state.withLock { $0.cancelled } }
    var isClosed: Bool { state.withLock { $0.isClosed } }

    func fail(_ kind: DatabaseTask.Kind) { change { $0.failing.insert(kind) } }
    /// The kind ends only when it is cancelled.
    func hang(_ kind: DatabaseTask.Kind) { change { $0.hanging.insert(kind) } }
    /// Cancellations are not heard, as by a session whose server hangs.
    func turnDeaf() { change { $0.isDeaf = true } }
    /// Cancellations that come from now on take until they are let pass.
    func holdCancellations() { change { $0.isHolding = true } }
    func passCancellations() { change { $0.isHolding = false } }
    /// What hangs ends by itself.
    func end(_ kind: DatabaseTask.Kind) { change { $0.hanging.remove(kind) } }

    func waitForCancellation() async { await wait { !$0.cancelled.isEmpty } }
    func waitForTask(_ kind: DatabaseTask.Kind) async {
        await wait { $0.tasks.contains { $0.kind == kind } }
    }

    func perform(_ task: DatabaseTask) async -> DatabaseOutcome {
        let (isFailing, isHanging) = change { state in
            state.tasks.append(task)
            return (state.failing.contains(task.kind), state.hanging.contains(task.kind))
        }
        if isHanging {
            await withTaskCancellationHandler {
                await wait { !$0.hanging.contains(task.kind) }
            } onCancel: {
                end(task.kind)
            }
            if cancelled.contains(task) {
                return .failed(DatabaseFailure(code: "cancelled", "the task was stopped"))
            }
        }
        if isFailing { return .failed(DatabaseFailure(code: "sql", "relation does not exist")) }
        return .done(DatabaseReport(lines: ["\(task.kind)"]))
    }

    func look() async -> DatabaseOutcome {
        await perform(
            DatabaseTask(
                kind: .preflight, run: RunIdentifier(unchecked: "look"), epoch: Epoch(rawValue: 0),
                attempt: 1))
    }

    /// What keeps whatever is at work waiting.
    func wait(for holders: [String]) { change { $0.waits = holders } }
    func waits(of run: RunIdentifier) async -> [String] { state.withLock { $0.waits } }

    /// How far whatever is at work has come.
    func come(so far: String) { change { $0.progress = far } }
    func progress() async -> String? { state.withLock { $0.progress } }

    /// What is to be seen of the frozen standby.
    func see(_ sight: StandbySight?) { change { $0.sight = sight } }
    func sight(of run: RunIdentifier) async -> StandbySight? { state.withLock { $0.sight } }

    func cancel(_ task: DatabaseTask) async {
        change { $0.cancelled.append(task) }
        await withTaskCancellationHandler {
            await wait { !$0.isHolding }
        } onCancel: {
            passCancellations()
        }
        change { state in
            if !state.isDeaf { state.hanging.remove(task.kind) }
        }
    }

    func close() async { change { $0.isClosed = true } }

    @discardableResult
    private func change<Value>(_ change: (inout State) -> Value) -> Value {
        let (value, waiting) = state.withLock { state in
            let value = change(&state)
            defer { state.waiting = [] }
            return (value, state.waiting)
        }
        for continuation in waiting { continuation.resume() }
        return value
    }

    private func wait(until isSo: (State) -> Bool) async {
        while state.withLock({ !isSo($0) }) {
            await withCheckedContinuation { continuation in
                let isDone = state.withLock { state in
                    if !isSo(state) { state.waiting.append(continuation) }
                    return isSo(state)
                }
                if isDone { continuation.resume() }
            }
        }
    }
}
