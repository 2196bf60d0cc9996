// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension NodeEngine {
    mutating func begin(at now: Instant, _ ready: inout NodeReady) {
        guard let directive = memory.directive else { return }
        while let next = nextWork(directive, at: now) {
            switch next {
            case .activate(let plan): record(.activationPlanned(plan), &ready)
            case .run(let task): record(.taskStarted(task.identity), &ready)
            case .silence(let goal):
                let silence = SilenceMemory(release: goal.release, run: directive.run)
                // What a run has frozen stays its own until it goes on or is gone.
                if memory.silence == nil { record(.silenceBegan(silence), &ready) }
            case .stage, .resolve, .probe, .unstage, .prune: break
            }
            works.append(next)
            ready.works.append(next)
        }
    }

    /// What is to be begun now, beside what is under way: writers wait for a freeze and for the question of health that follows the
    /// flip, and they need not wait for one after the other. Nor does a flip to another release than the one that is being frozen: on a
    /// way back to it nobody needs what the freeze looks at.
    private func nextWork(_ directive: Directive, at now: Instant) -> NodeWork? {
        guard works.count < 2 else { return nil }
        let silence = silenceWork(directive, at: now)
        switch works.first {
        case nil: return silence ?? otherWork(directive, at: now)
        case .silence(let silenced) where silenced.state == .frozen:
            switch otherWork(directive, at: now) {
            case .probe(let goal): return .probe(goal)
            case .activate(let plan) where plan.release != silenced.release:
                return .activate(plan)
            default: return nil
            }
        case .probe:
            guard case .silence(let goal)? = silence, goal.state == .frozen else { return nil }
            return silence
        case .run(let task) where task.tool != nil: return workBesideTool(directive, at: now)
        default: return nil
        }
    }

    /// A tool may take hours, and the standby from which this node reads may be lost meanwhile: it goes to another release and asks whether
    /// what it serves answers, and does nothing else.
    private func workBesideTool(_ directive: Directive, at now: Instant) -> NodeWork? {
        if let retryAt, now < retryAt { return nil }
        if let goal = directive.active, activeIdentity != goal.identity {
            return failures[.activate] == nil ? flip(goal) : nil
        }
        guard let health, !health.isHealthy, now >= health.nextAt else { return nil }
        return .probe(health.goal)
    }

    /// The first thing that is not as it should be, apart from processes that are to be silent, which come before all else. In order: on
    /// disk, warm, flipped, its actions, healthy, tidy.
    private func otherWork(_ directive: Directive, at now: Instant) -> NodeWork? {
        if let retryAt, now < retryAt { return nil }
        if let stage = directive.stage, !host.staged.contains(stage) {
            return failures[.stage] == nil ? .stage(stage) : nil
        }
        switch nextTask(directive, .beforeActivation) {
        case .work(let work): return work
        case .stuck: return nil
        case .finished: break
        }
        if let goal = directive.active, activeIdentity != goal.identity {
            return failures[.activate] == nil ? flip(goal) : nil
        }
        switch nextTask(directive, .afterActivation) {
        case .work(let work): return work
        case .stuck: return nil
        case .finished: break
        }
        if let health, !health.isHealthy {
            return now >= health.nextAt ? .probe(health.goal) : nil
        }
        if let unstage = directive.unstage, host.staged.contains(unstage), failures[.unstage] == nil
        {
            return .unstage(unstage)
        }
        if let keep = directive.keepReleases, !hasPruned, failures[.prune] == nil {
            return .prune(keep: keep)
        }
        return nil
    }

    /// Whether the current work still leads to what is asked. An action is not cut off, its timeout bounds it; but for one that is not
    /// asked for any more and would go on starting a release that is to be silent, and for a migration tool, which is let through
    /// the fence no longer.
    func isWanted(_ work: NodeWork) -> Bool {
        switch work {
        case .stage(let release): memory.directive?.stage == release
        case .probe(let goal): memory.directive?.health == goal
        case .run(let task), .resolve(let task):
            memory.directive.map { directive in
                directive.tasks.contains { $0.identity == task.identity }
                    || task.tool == nil
                        && (task.release == nil || directive.silenced != task.release)
            } ?? true
        case .activate, .silence, .unstage, .prune: true
        }
    }

    enum TaskPosition { case work(NodeWork), stuck, finished }

    /// Tasks go in order, and one that failed stops those behind it.
    func nextTask(_ directive: Directive, _ timing: TaskTiming) -> TaskPosition {
        for task in directive.tasks where task.timing == timing {
            switch memory.tasks[task.identity]?.state {
            case nil where flushed(task, directive) != nil: continue
            case nil: return .work(.run(task))
            case .running: return .work(.resolve(task))
            case .done: continue
            case .failed, .notStarted, .unknown: return .stuck
            }
        }
        return .finished
    }

    /// What has come of a cache that the flip has flushed; nothing is begun for it, so nothing is written down.
    func flushed(_ task: NodeTask, _ directive: Directive) -> TaskOutcome? {
        guard task.kind == .flush, identity.cachesByGeneration.contains(task.name),
            let goal = directive.active, activeIdentity == goal.identity
        else { return nil }
        return TaskOutcome(
            identity: task.identity, state: .done,
            output: "its keys contain the generation: the flip was the flush")
    }

    func flip(_ goal: ActivationGoal) -> NodeWork {
        // The same identity keeps its generation, so that a flip that was interrupted is the same flip.
        if let plan = memory.activation, plan.identity == goal.identity,
            plan.release == goal.release,
            plan.generation >= host.current?.generation ?? .zero
        {
            return .activate(plan)
        }
        return .activate(
            ActivationPlan(
                identity: goal.identity, release: goal.release,
                generation: generation(for: goal.release)))
    }

    /// The present one for the release that is served, on another database: its pages are the same. Otherwise the generation that was
    /// prepared for this release and never served, or one higher than any before.
    func generation(for release: ReleaseReference) -> CacheGeneration {
        if let current = host.current, current.release.isOnAnotherDatabase(than: release) {
            return current.generation
        }
        let used = max(host.current?.generation ?? .zero, memory.activation?.generation ?? .zero)
        if let latest = host.latest, latest.release == release, latest.generation > used {
            return latest.generation
        }
        return max(used, host.latest?.generation ?? .zero).next
    }
}

extension TaskOutcome {
    var bounded: TaskOutcome {
        var copy = self
        copy.output = String(decoding: output.utf8.suffix(TaskOutcome.outputLimit), as: UTF8.self)
        if let preview, preview.utf8.count > TaskOutcome.previewLimit {
            // What stands for a character that was cut is two bytes longer.
            let beginning = preview.utf8.prefix(TaskOutcome.previewLimit - 2)
            copy.preview = String(decoding: beginning, as: UTF8.self)
        }
        return copy
    }
}
