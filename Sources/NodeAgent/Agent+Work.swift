// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import SteadyClock
import Synchronization
import UpgradeModel

/// The one piece of work that is done at a time, how far it has come, and what is silenced, or migrated by a tool, beside it.
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
        if work.isTool {
            isToolCancelled = false
            tools.continuation.yield(work)
            return
        }
        isWorkCancelled = false
        works.continuation.yield(work)
    }

    func performWorks() async {
        for await work in works.stream {
            forgetStaging()
            let task = started(work)
            currentWork = task
            if isWorkCancelled { task.cancel() }
            let result = await ended(task)
            currentWork = nil
            forgetStaging()
            guard !Task.isCancelled else { return }
            log(work, result)
            handle(.ended(work, result))
        }
    }

    /// Of the application's own: it may take hours, and other work is done meanwhile.
    func performTools() async {
        for await work in tools.stream {
            staging.withLock { $0.forget() }
            let task = started(work)
            currentTool = task
            if isToolCancelled { task.cancel() }
            let result = await ended(task)
            currentTool = nil
            forgetStaging()
            guard !Task.isCancelled else { return }
            log(work, result)
            handle(.ended(work, result))
        }
    }

    /// Not a child task, so that it can be ended alone; it does not outlive the turn of the loop that has started it.
    private func started(_ work: NodeWork) -> Task<WorkResult, Never> {
        let surroundings = surroundings()
        let performer = performer
        return Task { await performer.perform(work, surroundings) }
    }

    private nonisolated func ended(_ task: Task<WorkResult, Never>) async -> WorkResult {
        await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// What a tool that is under way has said last stays said.
    private func forgetStaging() {
        let hasTool = currentTool != nil
        staging.withLock { state in
            state.progress = nil
            if !hasTool { state.said = nil }
        }
    }

    /// Never cut off by another directive: what is half frozen is neither.
    func performSilences() async {
        for await work in silences.stream {
            // Off the agent's queue: it reads all of /proc.
            let result = await ended(started(work))
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
