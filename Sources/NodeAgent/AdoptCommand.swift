// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ArgumentParser
import CurlClient
import Files
import FoundationEssentials
import Glibc
import Releases
import Synchronization
import UpgradeModel

extension AgentCommand {
    struct Adopt: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a first release under Sluice's layout and make it current.",
            discussion: """
                For a node that comes under Sluice. The agent must not run. The release's files are copied; `--action` runs \
                actions of the configuration for it, such as the one that starts the application, before it becomes \
                current. Safe to repeat.
                """)
        @OptionGroup var options: Options
        @Option(help: "The release's name.")
        var release: String
        @Option(help: "The directory with its files. Or else --version-name.")
        var bundle: String?
        @Option(
            help:
                "What the node's own actions call it, where it is no bundle: `release.report` has to print that."
        )
        var versionName: String?
        @Option(help: "The directory of hashed assets, relative to the bundle.")
        var assets: String?
        @Option(help: "An action to run for it before it becomes current.")
        var action: [String] = []
        @Flag(help: "As one line of JSON.")
        var json = false

        private struct Adopted: Encodable {
            var release: ReleaseReference
            var directory: String
            var socket: String
            var generation: Int64
        }

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
                    print("\(release) is current as generation \(adopted.generation)")
                    print("files   \(adopted.directory)")
                    print("socket  \(adopted.socket)")
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
            try refuseAnotherToolsLayout(in: configuration.directories.app)
            let said = Progress()
            let bundle = try read(name, configuration, said)
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
                    "\(configuration.directories.app) serves \(current.release.name) already; upgrade it with a plan"
                )
            }
            try await store.stage(
                manifest: bundle.manifest.encoded, as: reference, from: BundleBlobs(bundle: bundle)
            ) {
                said.say("copying: \($0.bytesDone / 1_000_000) of \($0.bytesTotal / 1_000_000) MB")
            }
            try await refuseAnotherVersion(of: reference, store, configuration)
            try await run(action, for: reference, store, configuration, said)
            let generation =
                if let current { current.generation } else { try await store.nextGeneration() }
            _ = try await store.activate(reference, generation: generation)
            return Adopted(
                release: reference, directory: store.filesDirectory(of: reference),
                socket: store.socketPath(of: reference), generation: generation.rawValue)
        }

        private func read(
            _ name: ReleaseName, _ configuration: AgentConfiguration, _ said: Progress
        ) throws -> Bundle {
            switch (self.bundle, versionName) {
            case (let directory?, nil):
                return try Bundle.read(
                    directory: directory, name: name, assets: assets,
                    leavingOut: configuration.releases.shared
                ) { said.say("reading the bundle: \($0) files") }
            case (nil, let version?):
                guard configuration.release.areForVersions else {
                    throw SystemFailure(
                        "\(configuration.file) has no `release.switch` and `release.report`; name the actions there"
                    )
                }
                return try Bundle.naming(version: version, name: name)
            case (nil, nil), (_?, _?):
                throw SystemFailure("give one of --bundle and --version-name")
            }
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
                "; give `directories.app` a directory of Sluice's own, such as \(app)-sluice, and adopt what is served now from where it "
                + "is: --bundle \(app)/current. What that tool links into its releases (shared/…) goes into `application.shared`"
            if let target = try? linkTarget(app + "/current") {
                guard target.hasPrefix("activations/") else {
                    throw SystemFailure(
                        "\(app)/current is a link to \(target), as Capistrano and Deployer make it\(advice)"
                    )
                }
            } else if access(app + "/current", F_OK) == 0 {
                throw SystemFailure("\(app)/current is there and is not Sluice's\(advice)")
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

/// The blobs of a bundle on this machine.
private struct BundleBlobs: BlobSource {
    private let files: [Digest: String]
    private let contents: [Digest: [UInt8]]

    init(bundle: Bundle) {
        contents = bundle.contents
        files = Dictionary(
            bundle.manifest.entries.map { ($0.digest, bundle.file(of: $0)) },
            uniquingKeysWith: { first, _ in first })
    }

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        if let bytes = contents[digest] {
            // SAFETY: the sink uses the bytes during the call only.
            _ = bytes.dropFirst(Int(offset)).withUnsafeBytes { sink.write($0) }
            return
        }
        guard let path = files[digest] else {
            throw SystemFailure("the bundle has no file with the digest \(digest)")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw SystemFailure(errno: "open \(path)") }
        defer { close(descriptor) }
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw SystemFailure(errno: "read \(path)")
        }
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemFailure(errno: "read \(path)") }
            if count == 0 { return }
            // SAFETY: `count` bytes have been read into the chunk, and the sink uses them during the call only.
            guard
                chunk.withUnsafeBytes({ sink.write(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                )
            else { return }
        }
    }
}

/// Says what goes on to whoever waits for more than two seconds, every two seconds.
private final class Progress: Sendable {
    private let last = Mutex(ContinuousClock.now)

    func say(_ text: String) {
        let isDue = last.withLock { last in
            guard ContinuousClock.now - last >= .seconds(2) else { return false }
            last = .now
            return true
        }
        if isDue { printError(text) }
    }
}
