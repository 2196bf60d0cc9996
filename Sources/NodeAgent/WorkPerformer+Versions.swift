// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Files
import NodeEngine
import Releases
import UpgradeModel

/// Releases that the node's own actions make: a bundle that is finished here, and a version that is no bundle at all.
extension WorkPerformer {
    /// What a staged release names; `nil` for a bundle.
    func version(of release: ReleaseReference) -> String? {
        version(in: store.filesDirectory(of: release))
    }

    func versions(among releases: [ReleaseReference]) -> [ReleaseReference: String] {
        guard configuration.release[.remove] != nil else { return [:] }
        // On the standby it is the same version, which stays.
        return Dictionary(
            releases.filter { $0.database == nil }.compactMap { release in
                version(of: release).map { (release, $0) }
            },
            uniquingKeysWith: { first, _ in first })
    }

    private func version(in directory: String) -> String? {
        guard let text = try? readTextFile("\(directory)/\(Bundle.versionFile)", atMost: 4096)
        else { return nil }
        return text.split(separator: "\n").first.map(String.init)
    }

    // MARK: At the moments of a release's life

    /// Brings the version, or builds the bundle, before the release is sealed.
    ///
    /// - Parameter directory: the release's files, where nobody else looks yet; the release moves from there with one rename.
    /// - Returns: whether an action has run, and may have added files.
    func finish(
        _ release: ReleaseReference, in directory: String, _ run: RunIdentifier?
    ) async throws(ReleaseFailure) -> Bool {
        let version = version(in: directory)
        if let version, !configuration.release.areForVersions {
            throw ReleaseFailure(
                .unfinished,
                "\(release.name) is the version \(version), and \(configuration.file) has no `release.switch` and "
                    + "`release.report`; name the actions there and restart the agent")
        }
        try await checkNeeds(of: release, in: directory, run)
        let occasion: ReleaseActions.Occasion = version == nil ? .build : .fetch
        return try await act(
            occasion, context(occasion, release, directory, version, run: run), .unfinished) != nil
    }

    /// Makes a version ready to be switched to another database: the node's own action may look whether that is there.
    ///
    /// - Parameter isStarted: whether the plan has actions that start a release there.
    /// - Returns: `false` for a bundle, which is started there.
    func prepareSwitch(
        of release: ReleaseReference, isStarted: Bool, _ run: RunIdentifier?
    ) async throws(ReleaseFailure) -> Bool {
        let plain = release.on(nil)
        guard try await store.isStaged(plain) else {
            try await store.stageBeside(release)
            return true
        }
        guard let version = version(of: plain) else {
            if isStarted || !configuration.release.areForVersions { return false }
            throw ReleaseFailure(
                .unfinished,
                "\(release.name) is a bundle, and nothing starts it on the standby: the plan's release is a version, which an action "
                    + "switches; bring this node to a version of the old release first, by a plan without `reads.from`"
            )
        }
        guard !isStarted, configuration.release.heedsDatabase else {
            throw ReleaseFailure(
                .unfinished,
                "\(release.name) is the version \(version), which cannot run twice beside itself: a plan with `release.by: actions` switches "
                    + "it to the standby, where \(configuration.file) says `standby: true` under `release`"
            )
        }
        _ = try await act(.fetch, context(.fetch, release, nil, version, run: run), .unfinished)
        try await store.stageBeside(release)
        return true
    }

    /// Makes a version the one that is served, and asks what is.
    func switchVersion(
        to plan: ActivationPlan, _ run: RunIdentifier?
    ) async throws(ReleaseFailure) {
        let release = plan.release
        guard let version = version(of: release) else { return }
        var context = context(.switch, release, nil, version, run: run)
        context.generation = plan.generation
        _ = try await act(.switch, context, .unfinished)
        if let trouble = await troubleReporting(release) {
            throw ReleaseFailure(
                .unfinished, "the switch to \(release.name) did nothing: \(trouble)")
        }
    }

    func removeVersions(_ versions: [ReleaseReference: String], _ run: RunIdentifier?) async {
        for (release, version) in versions.sorted(by: { $0.value < $1.value }) {
            // What cannot be removed costs room and nothing else; the action's output is kept.
            var context = context(.remove, release, nil, version, run: run)
            context.releaseDirectory = nil
            _ = try? await act(.remove, context, .unfinished)
        }
    }

    /// What the link says, as far as the node's own report agrees.
    func served() async throws(ReleaseFailure) -> CurrentRelease? {
        guard let current = try await store.current() else { return nil }
        guard await troubleReporting(current.release) == nil else { return nil }
        return CurrentRelease(release: current.release, generation: current.generation)
    }

    /// - Returns: `nil` when the node reports the version of this release, or when it is a bundle.
    func troubleReporting(_ release: ReleaseReference) async -> String? {
        guard let version = version(of: release) else { return nil }
        let context = context(.report, release, nil, version, run: nil)
        do throws(ReleaseFailure) {
            let output = try await act(.report, context, .unfinished) ?? ""
            let lines = output.split(separator: "\n").map { $0.drop { $0 == " " } }
            let found = lines.last { !$0.isEmpty } ?? ""
            let expected = report(of: release, version)
            if found == expected { return nil }
            return
                "the node reports \(TaskOutcome.text(Array(found.utf8), limit: 200)), not \(expected)"
        } catch {
            return error.message
        }
    }

    /// Where the actions know two databases, which of them answers belongs to what is served.
    private func report(of release: ReleaseReference, _ version: String) -> String {
        guard configuration.release.heedsDatabase else { return version }
        return "\(version) \(release.database?.rawValue ?? "primary")"
    }

    /// Runs the node's action for an occasion.
    ///
    /// - Returns: the end of its output; `nil` when the node has none for this occasion.
    private func act(
        _ occasion: ReleaseActions.Occasion, _ context: ActionRunner.Context,
        _ code: ReleaseFailure.Code
    ) async throws(ReleaseFailure) -> String? {
        guard let name = configuration.release[occasion] else { return nil }
        guard let action = configuration.actions[name] else {
            throw ReleaseFailure(
                code, "`\(name)` is not among the actions of \(configuration.file)")
        }
        await actions.awaitSurvivor(action, context.identity)
        let outcome = await actions.run(action, context)
        if Task.isCancelled { throw ReleaseFailure(.cancelled, "cancelled") }
        guard outcome.state == .done else {
            throw ReleaseFailure(
                code,
                "\(name), the `release.\(occasion.rawValue)` of this node, failed: \(outcome.output)"
            )
        }
        return outcome.output
    }

    /// - Parameter directory: where it is not yet in its place. A version has one on whatever database: it runs once, and by that
    ///   directory its processes are known.
    private func context(
        _ occasion: ReleaseActions.Occasion, _ release: ReleaseReference, _ directory: String?,
        _ version: String?, run: RunIdentifier?
    ) -> ActionRunner.Context {
        let place = version == nil ? release : release.on(nil)
        return ActionRunner.Context(
            identity: TaskIdentity(rawValue: "\(occasion.rawValue)/\(release.identifier)"),
            run: run,
            release: release, releaseDirectory: directory ?? store.filesDirectory(of: place),
            socket: configuration.applicationSocket == nil ? nil : store.socketPath(of: place),
            version: version)
    }
}

extension HostFacts {
    /// The generation that a release is served under, or that is prepared for it.
    func generation(of release: ReleaseReference) -> CacheGeneration? {
        if let current, current.release.isSameApplication(as: release) {
            return current.generation
        }
        return latest?.release == release ? latest?.generation : nil
    }
}
