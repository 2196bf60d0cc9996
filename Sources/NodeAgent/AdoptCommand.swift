// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ArgumentParser
import CurlClient
import Files
import FoundationEssentials
import Glibc
import Releases
import UpgradeModel

extension AgentCommand {
    struct Adopt: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a first release under Sluice's layout and make it current.",
            discussion: """
                For a node that comes under Sluice. The agent must not run. The release's files are copied; `--action` runs \
                actions of the configuration for it, such as the one that starts the application, before it becomes \
                current. What another tool has deployed is taken over with `--from`, and stays as it is. Safe to repeat.
                """)
        @OptionGroup var options: Options
        @Option(help: "The release's name.")
        var release: String
        @Option(help: "The directory with its files. Or else --from, or --version-name.")
        var bundle: String?
        @Option(
            help:
                "Where Capistrano, Deployer or a tool like them deploys to: what its `current` leads to, and what its releases share."
        )
        var from: String?
        @Option(
            help:
                "What the node's own actions call it, where it is no bundle: `release.report` has to print that."
        )
        var versionName: String?
        @Option(
            help:
                "The directory of hashed assets, relative to the bundle. (default: the first of \(AssetsDirectory.usual.joined(separator: ", ")) that is there)"
        )
        var assets: String?
        @Option(help: "An action to run for it before it becomes current.")
        var action: [String] = []
        @Flag(help: "As one line of JSON.")
        var json = false

        func run() async throws {
            let configuration = try options.read()
            guard let name = ReleaseName(rawValue: release) else {
                throw ValidationError("`\(release)` is not a name of a release")
            }
            do {
                let adopted = try await adopt(name, configuration)
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
                if json {
                    print(String(decoding: try encoder.encode(adopted), as: UTF8.self))
                } else {
                    print(adopted.text(next: next(adopted, configuration)))
                }
            } catch let refusal as Bundle.NotABundle {
                // As `sluice bundle` ends.
                printError("\(refusal)")
                throw ExitCode(3)
            } catch {
                printError("\(error)")
                throw ExitCode(1)
            }
        }

        private func adopt(_ name: ReleaseName, _ configuration: AgentConfiguration) async throws
            -> Adopted
        {
            guard [bundle, from, versionName].compactMap({ $0 }).count == 1 else {
                throw SystemFailure("give one of --bundle, --from and --version-name")
            }
            try refuseAnotherToolsLayout(in: configuration.directories.app)
            let said = Progress("looking at what is there")
            defer { withExtendedLifetime(said) {} }
            let takeOver = try from.map { try TakeOver(from: $0, configuration) }
            for warning in takeOver?.deployed.warnings ?? [] { printError("\(warning)") }
            try takeOver?.refuseWhatIsNotShared()
            let bundle = try read(name, takeOver?.deployed, configuration, said)
            for warning in bundle.warnings { printError("\(warning)") }
            try makeDirectory(configuration.directories.state, mode: 0o700)
            try makeDirectory(configuration.actionOutput, mode: 0o700)
            // Holds the lock of a running agent.
            let journal = try AgentJournal.open(configuration.journal)
            defer { withExtendedLifetime(journal) {} }
            let reference = bundle.manifest.reference
            let store = try ReleaseStore(configuration.releases)
            let current = try await store.current()
            if let current, current.release != reference {
                throw SystemFailure(
                    "\(configuration.directories.app) serves \(current.release.name) already (\(current.release.identifier); "
                        + "this would be \(reference.identifier)); upgrade it with a plan")
            }
            try takeOver?.share()
            try await store.stage(
                manifest: bundle.manifest.encoded, as: reference, from: BundleBlobs(bundle: bundle)
            ) {
                said.say(
                    $0.bytesDone == $0.bytesTotal
                        ? "bringing it to the disk"
                        : "copying: \($0.bytesDone / 1_000_000) of \($0.bytesTotal / 1_000_000) MB")
            }
            try await refuseAnotherVersion(of: reference, store, configuration)
            try await run(action, for: reference, store, configuration, said)
            try takeOver?.refuseAnother()
            let generation =
                if let current { current.generation } else { try await store.nextGeneration() }
            _ = try await store.activate(reference, generation: generation)
            return Adopted(
                release: reference, directory: store.filesDirectory(of: reference),
                socket: store.socketPath(of: reference), generation: generation.rawValue,
                files: bundle.manifest.entries.count + bundle.manifest.links.count,
                takenOver: takeOver?.said)
        }

        private func read(
            _ name: ReleaseName, _ deployed: DeployedRelease?,
            _ configuration: AgentConfiguration, _ said: Progress
        ) throws -> Bundle {
            if let directory = self.bundle ?? deployed?.directory {
                return try Bundle.read(
                    directory: directory, name: name,
                    assets: assets ?? AssetsDirectory.conventional(in: directory),
                    leavingOut: configuration.releases.shared + (deployed?.leftOut ?? []),
                    linking: deployed?.targets ?? [:]
                ) { said.say("reading what is there: \($0) files") }
            }
            guard configuration.release.areForVersions else {
                throw SystemFailure(
                    "\(configuration.file) has no `release.switch` and `release.report`; name the actions there"
                )
            }
            return try Bundle.naming(version: versionName ?? "", name: name)
        }

        /// A version is adopted as it is served, and nothing is switched.
        private func refuseAnotherVersion(
            of release: ReleaseReference, _ store: ReleaseStore,
            _ configuration: AgentConfiguration
        ) async throws {
            let performer = WorkPerformer(
                configuration: configuration, store: store,
                coordinator: CoordinatorClient(
                    address: configuration.coordinator, token: HTTPSecret(""),
                    client: CurlClient(), downloads: CurlClient()),
                actions: ActionRunner(outputDirectory: configuration.actionOutput),
                passes: PassMaker(file: configuration.passKey), prober: HealthProber(),
                flusher: CacheFlusher(client: CurlClient()))
            if let trouble = await performer.troubleReporting(release) {
                throw SystemFailure(trouble)
            }
        }

        private func run(
            _ names: [String], for release: ReleaseReference, _ store: ReleaseStore,
            _ configuration: AgentConfiguration, _ said: Progress
        ) async throws {
            let runner = ActionRunner(outputDirectory: configuration.actionOutput)
            for text in names {
                guard let action = ActionName(rawValue: text).flatMap({ configuration.actions[$0] })
                else {
                    throw SystemFailure(
                        "`\(text)` is not among the actions of \(configuration.file), which has "
                            + (configuration.actions.isEmpty
                                ? "none; describe it there first"
                                : configuration.actions.keys.map(\.rawValue).sorted().joined(
                                    separator: ", ")))
                }
                let context = ActionRunner.Context(
                    identity: TaskIdentity(rawValue: "adopt.\(release.identifier).\(text)"),
                    run: nil,
                    release: release, releaseDirectory: store.filesDirectory(of: release),
                    socket: store.socketPath(of: release), version: versionName)
                said.say("running \(text), for at most \(action.timeout)")
                let outcome = await runner.run(action, context)
                guard outcome.state == .done else {
                    throw SystemFailure(
                        "the action \(text): \(outcome.state.rawValue): \(outcome.output)")
                }
            }
            guard let last = names.last.flatMap({ ActionName(rawValue: $0) }),
                let action = configuration.actions[last], action.awaitsSocket,
                configuration.applicationSocket != nil
            else { return }
            said.say("waiting until \(release.name) answers, for at most \(action.timeout)")
            let watch = ReleaseWatch(configuration: configuration, store: store)
            if let reason = await watch.reasonNotToAnswer(
                release, within: .milliseconds(action.timeout.milliseconds))
            {
                throw SystemFailure(reason)
            }
        }

        /// Before anything is made: a `current` or `releases` of another tool is neither taken for ours nor changed.
        private func refuseAnotherToolsLayout(in app: String) throws(SystemFailure) {
            let advice =
                "; give `directories.app` a directory of Sluice's own, such as \(app)-sluice, and take over what is served now from "
                + "where it is: --from \(app)"
            if let target = try? linkTarget(app + "/current") {
                guard target.hasPrefix("activations/") else {
                    throw SystemFailure(
                        "\(app)/current is a link to \(target), as Capistrano and Deployer make it\(advice)"
                    )
                }
            } else if access(app + "/current", F_OK) == 0 {
                throw SystemFailure(
                    "\(app)/current is there and is not Sluice's; give `directories.app` a directory of Sluice's own, such as "
                        + "\(app)-sluice, and adopt what is served now from where it is: --bundle \(app)/current"
                )
            }
            for name in (try? directoryNames(app + "/releases")) ?? [] {
                let release = "\(app)/releases/\(String(decoding: name, as: UTF8.self))"
                guard access(release + "/manifest", F_OK) == 0 else {
                    throw SystemFailure("\(release) is no release of Sluice's\(advice)")
                }
            }
        }
    }
}
