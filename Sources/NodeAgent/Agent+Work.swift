// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import SteadyClock
import Synchronization
import UpgradeModel

/// The one piece of work that is done at a time, how far it has come, and what is silenced beside it.
extension Agent {
    struct StagingState {
        var progress: UpgradeModel.StagingProgress?
        var reportedAt = Instant(milliseconds: 0)
        /// The last line that the action under way has said.
        var said: (task: TaskIdentity, line: String)?

        mutating func forget() {
            progress = nil
            said = nil
        }
    }

    func begin(_ work: NodeWork) {
        if case .silence = work {
            silences.continuation.yield(work)
            return
        }
        isWorkCancelled = false
        works.continuation.yield(work)
    }

    func performWorks() async {
        for await work in works.stream {
            staging.withLock { $0.forget() }
            let surroundings = surroundings()
            let performer = performer
            // Not a child task, so that it can be ended alone; it does not outlive this turn of the loop.
            let task = Task { await performer.perform(work, surroundings) }
            currentWork = task
            if isWorkCancelled { task.cancel() }
            let result = await withTaskCancellationHandler {
                await task.value
            } onCancel: {
                task.cancel()
            }
            currentWork = nil
            staging.withLock { $0.forget() }
            guard !Task.isCancelled else { return }
            log(work, result)
            handle(.ended(work, result))
        }
    }

    /// Never cut off by another directive: what is half frozen is neither.
    func performSilences() async {
        for await work in silences.stream {
            let surroundings = surroundings()
            let performer = performer
            // Off the agent's queue: it reads all of /proc.
            let task = Task { await performer.perform(work, surroundings) }
            let result = await withTaskCancellationHandler {
                await task.value
            } onCancel: {
                task.cancel()
            }
            guard !Task.isCancelled else { return }
            log(work, result)
            handle(.ended(work, result))
        }
    }

    private func surroundings() -> WorkPerformer.Surroundings {
        let directive = engine.memory.directive
        return WorkPerformer.Surroundings(
            run: directive?.run, protected: Set(directive?.stage.map { [$0] } ?? []),
            host: engine.host, staged: directive?.stage,
            lastWarming: directive?.tasks.last {
                $0.kind == .action && $0.timing == .beforeActivation && $0.release != nil
                    && $0.release == directive?.stage
            }?.identity, mayReadsEnd: !engine.hasFrozen,
            onProgress: { [weak self] progress in self?.note { $0.progress = progress } },
            onOutput: { [weak self] task, line in self?.note { $0.said = (task, line) } })
    }

    /// Called from any thread, often.
    private nonisolated func note(_ change: (inout StagingState) -> Void) {
        let now = clock.now
        let isDue = staging.withLock { state in
            change(&state)
            guard now >= state.reportedAt + .milliseconds(500) else { return false }
            state.reportedAt = now
            return true
        }
        if isDue { reports.continuation.yield() }
    }
}
