// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Glibc
import HostWork
import NodeEngine
import Releases
import Synchronization
import UpgradeModel

/// Does one piece of work on the host and says how it ended. Holds no state of the node.
struct WorkPerformer: Sendable {
    var configuration: AgentConfiguration
    var store: ReleaseStore
    var coordinator: CoordinatorClient
    var actions: ActionRunner
    var passes: PassMaker
    var prober: HealthProber
    var flusher: CacheFlusher
    /// How long the connections of the application have been open.
    let connectionAges = ConnectionAges()

    /// What the directive says besides the work itself.
    struct Surroundings: Sendable {
        var run: RunIdentifier?
        /// Releases that no pruning may take.
        var protected: Set<ReleaseReference> = []
        /// What was on the host before.
        var host: HostFacts
        /// The release that the directive has beside the active one.
        var staged: ReleaseReference?
        /// The last action that warms the release which is to be flipped to: after it the release has to answer.
        var lastWarming: TaskIdentity?
        /// Whether requests that are under way at a release's socket may end before it is frozen.
        var mayReadsEnd = true
        var onProgress: @Sendable (UpgradeModel.StagingProgress) -> Void = { _ in }
        /// The last line that an action has said so far.
        var onOutput: @Sendable (TaskIdentity, String) -> Void = { _, _ in }
    }

    /// What is on the host now.
    func survey() async throws(ReleaseFailure) -> HostFacts {
        let staged = try await store.staged()
        return HostFacts(
            staged: staged,
            current: try await served(),
            latest: try await store.latestActivation().map {
                CurrentRelease(release: $0.release, generation: $0.generation)
            },
            diskFree: freeBytes(at: configuration.directories.app))
    }

    func perform(_ work: NodeWork, _ surroundings: Surroundings) async -> WorkResult {
        switch work {
        case .stage(let release):
            await releases { () async throws(ReleaseFailure) in
                try await stage(release, surroundings)
            }
        case .activate(let plan): await activate(plan, surroundings)
        case .unstage(let release):
            await releases { () async throws(ReleaseFailure) in
                let versions = versions(among: [release])
                try await store.remove(release)
                await removeVersions(versions, surroundings.run)
            }
        case .prune(let count):
            await releases { () async throws(ReleaseFailure) in
                let versions = versions(among: surroundings.host.staged)
                _ = try await store.prune(
                    keeping: max(0, count) + 1, protecting: surroundings.protected)
                let left = try await store.staged()
                await removeVersions(versions.filter { !left.contains($0.key) }, surroundings.run)
            }
        case .run(let task): .task(await run(task, surroundings))
        case .resolve(let task): .task(await resolve(task, surroundings))
        case .probe(let goal) where goal.place == .ownSocket:
            await probeBesideProxy(goal, surroundings.staged)
        case .probe(let goal): await probe(goal, surroundings.host)
        case .silence(let goal): .silenced(await silence(goal, surroundings))
        }
    }

    // MARK: Releases

    /// A flip changes what is current and nothing else: the manifests are not read again while writers wait.
    private func activate(_ plan: ActivationPlan, _ surroundings: Surroundings) async -> WorkResult
    {
        await result { () async throws(ReleaseFailure) in
            try await switchVersion(to: plan, surroundings.run)
            let activation = try await store.activate(plan.release, generation: plan.generation)
            var host = surroundings.host
            host.flip(
                to: CurrentRelease(release: activation.release, generation: activation.generation))
            return host
        }
    }

    private func releases(_ body: () async throws(ReleaseFailure) -> Void) async -> WorkResult {
        await result { () async throws(ReleaseFailure) in
            try await body()
            return try await survey()
        }
    }

    private func result(_ body: () async throws(ReleaseFailure) -> HostFacts) async -> WorkResult {
        do throws(ReleaseFailure) {
            return .done(try await body())
        } catch {
            switch error.code {
            case .fetchFailed, .cancelled, .busy: return .retryable(error.message)
            case .invalidManifest, .wrongManifest, .assetConflict, .noSpace, .wrongContent,
                .damaged, .notStaged, .unfinished,
                .active, .staleGeneration, .fileSystem:
                return .failed(error.message)
            }
        }
    }

    private func stage(
        _ release: ReleaseReference, _ surroundings: Surroundings
    ) async throws(ReleaseFailure) {
        if release.database == nil {
            try await fetch(release, surroundings)
        } else {
            try await stageBeside(release, surroundings)
        }
        // So that the flip in the write window is one rename.
        try await store.prepareActivation(
            release, generation: store.generation(toPrepare: release))
    }

    /// The release that is here already, for another database.
    private func stageBeside(
        _ release: ReleaseReference, _ surroundings: Surroundings
    ) async throws(ReleaseFailure) {
        // Whoever starts a release on the standby has an action for it.
        let isStarted = surroundings.lastWarming != nil
        if try await prepareSwitch(of: release, isStarted: isStarted, surroundings.run) { return }
        guard configuration.applicationSocket != nil else {
            throw ReleaseFailure(
                .unfinished,
                "\(configuration.file) has no `application.socket`, so \(release.name) cannot run twice beside itself; give each release a "
                    + "socket of its own there, with {release} in it")
        }
        try await store.stageBeside(release)
    }

    private func fetch(
        _ release: ReleaseReference, _ surroundings: Surroundings
    ) async throws(ReleaseFailure) {
        let manifest: [UInt8]
        do throws(CoordinatorClient.Failure) {
            manifest = try await coordinator.blob(
                release.manifest, atMost: BundleManifest.SizeLimits().encodedSize)
        } catch {
            throw ReleaseFailure(
                .fetchFailed, "the manifest of \(release.name) did not come: \(error.message)")
        }
        try await store.stage(
            manifest: manifest, as: release, from: CoordinatorBlobs(coordinator: coordinator),
            progress: surroundings.onProgress
        ) { directory async throws(ReleaseFailure) in
            try await finish(release, in: directory, surroundings.run)
        }
    }

    // MARK: Tasks

    func context(_ task: NodeTask, _ surroundings: Surroundings) -> ActionRunner.Context {
        ActionRunner.Context(
            identity: task.identity, run: surroundings.run, release: task.release,
            releaseDirectory: task.release.map { store.filesDirectory(of: $0) },
            socket: task.release.flatMap { socket(of: $0) },
            version: task.release.flatMap { version(of: $0) },
            generation: task.release.flatMap { surroundings.host.generation(of: $0) },
            database: task.database ?? task.tool?.database,
            onOutput: { surroundings.onOutput(task.identity, $0) })
    }

    private func socket(of release: ReleaseReference) -> String? {
        configuration.applicationSocket == nil ? nil : store.socketPath(of: release)
    }

    private func run(_ task: NodeTask, _ surroundings: Surroundings) async -> TaskOutcome {
        switch task.kind {
        case .action:
            guard let action = self.action(named: task.name) else {
                return refused(task, "actions")
            }
            if let tool = task.tool { return await run(action, task, tool, surroundings) }
            let outcome = await actions.run(action, context(task, surroundings))
            return await answered(outcome, task, action, surroundings)
        case .flush:
            guard let cache = CacheName(rawValue: task.name).flatMap({ configuration.caches[$0] })
            else {
                return refused(task, "caches")
            }
            if case .action(let name) = cache, let action = configuration.actions[name] {
                return await actions.run(action, context(task, surroundings))
            }
            do throws(SystemFailure) {
                return TaskOutcome(
                    identity: task.identity, state: .done, output: try await flusher.flush(cache))
            } catch {
                return TaskOutcome(
                    identity: task.identity, state: .failed,
                    output: TaskOutcome.text("", endingWith: error.message))
            }
        }
    }

    /// The outcome of an action that may have started a release: done only when the release is there.
    private func answered(
        _ outcome: TaskOutcome, _ task: NodeTask, _ action: Action, _ surroundings: Surroundings
    ) async -> TaskOutcome {
        guard outcome.state == .done, surroundings.lastWarming == task.identity,
            action.awaitsSocket, configuration.applicationSocket != nil,
            let release = task.release
        else { return outcome }
        let left = action.timeout.milliseconds - (outcome.duration?.milliseconds ?? 0)
        guard
            let reason = await ReleaseWatch(
                configuration: configuration, store: store, prober: prober
            ).reasonNotToAnswer(release, within: .milliseconds(max(2000, left)))
        else { return outcome }
        var failed = outcome
        failed.state = .failed
        failed.output = TaskOutcome.text(outcome.output, endingWith: reason)
        return failed
    }

    /// A task whose end nobody saw: run again only when that does no harm, or when a probe says that nothing has happened.
    private func resolve(_ task: NodeTask, _ surroundings: Surroundings) async -> TaskOutcome {
        let action: Action?
        switch task.kind {
        case .action:
            guard let found = self.action(named: task.name) else {
                return unknown(
                    task,
                    "and `\(task.name)` is no longer among the actions of \(configuration.file)")
            }
            action = found
        case .flush:
            if case .action(let name)? = CacheName(rawValue: task.name).flatMap({
                configuration.caches[$0]
            }) {
                action = configuration.actions[name]
            } else {
                action = nil
            }
        }
        if let action { await actions.awaitSurvivor(action, task.identity) }
        if task.tool != nil, Task.isCancelled { actions.endSurvivors(task.identity) }
        // A cache that is flushed twice is as empty as one that is flushed once, and a preview changes nothing.
        let isTool = task.tool.map { $0.unfenced != .preview } ?? false
        guard let action, !action.isRepeatable || isTool, task.tool == nil || isTool else {
            return await run(task, surroundings)
        }
        switch await actions.probe(action, context(task, surroundings)) {
        case true?:
            return TaskOutcome(
                identity: task.identity, state: .done,
                output:
                    "the agent was restarted meanwhile; the action's probe says that it took effect"
            )
        case false? where task.tool == nil: return await run(task, surroundings)
        case _ where task.tool != nil:
            return unknown(task, "and only the database can say what it has done")
        case false?, nil:
            return unknown(
                task,
                "and whether it took effect cannot be told; look at the node, then `sluice retry`")
        }
    }

    private func action(named name: String) -> Action? {
        ActionName(rawValue: name).flatMap { configuration.actions[$0] }
    }

    private func refused(_ task: NodeTask, _ section: String) -> TaskOutcome {
        TaskOutcome(
            identity: task.identity, state: .notStarted,
            output:
                "`\(TaskOutcome.text(Array(task.name.utf8), limit: 64))` is not among the \(section) of "
                + "\(configuration.file); declare it there and restart the agent")
    }

    private func unknown(_ task: NodeTask, _ why: String) -> TaskOutcome {
        TaskOutcome(
            identity: task.identity, state: .unknown,
            output: "the agent was restarted while this ran, \(why)")
    }

    // MARK: Health

    /// - Parameter host: what is on the host; looking for it anew would read every manifest, ten times a second.
    private func probe(_ goal: HealthGoal, _ host: HostFacts) async -> WorkResult {
        guard let check = configuration.health[goal.check] else { return unknown(goal.check) }
        let current = host.current?.release
        let release =
            current?.name == goal.release ? current : host.staged.last { $0.name == goal.release }
        if case .action(let name) = check.destination { return await probe(by: name, release) }
        var socket: String?
        if case .applicationSocket = check.destination {
            socket = release.map { store.socketPath(of: $0) }
        }
        let answer = await prober.ask(
            check, release: goal.release, applicationSocket: socket,
            files: release.map { store.filesDirectory(of: $0) }, standard: goal.standard)
        return .probed(isGood: answer.isGood, detail: answer.detail)
    }

    /// A node that serves no pages says by an action how its release does.
    func probe(by name: ActionName, _ release: ReleaseReference?) async -> WorkResult {
        guard let action = configuration.actions[name] else {
            return .probed(
                isGood: false, detail: "`\(name)` is not among the actions of \(configuration.file)"
            )
        }
        let context = ActionRunner.Context(
            identity: TaskIdentity(rawValue: "health/\(name)"), run: nil, release: release,
            releaseDirectory: release.map { store.filesDirectory(of: $0) },
            socket: release.flatMap { socket(of: $0) })
        let outcome = await actions.run(action, context)
        let line = outcome.output.split(separator: "\n").last.map(String.init) ?? ""
        return .probed(
            isGood: outcome.state == .done,
            detail: "\(name): \(line.isEmpty ? outcome.state.rawValue : line)")
    }

    func unknown(_ check: HealthCheckName) -> WorkResult {
        .probed(
            isGood: false,
            detail:
                "`\(check)` is not among the health checks of \(configuration.file); declare it there "
                + "and restart the agent")
    }
}

/// 0 when the file system does not say.
func freeBytes(at path: String) -> Int64 {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return 0 }
    return min(Bounds.bytes, Int64(clamping: UInt64(status.f_bavail) &* UInt64(status.f_frsize)))
}
