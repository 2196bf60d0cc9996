// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ArgumentParser
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
                current. Safe to repeat.
                """)
        @OptionGroup var options: Options
        @Option(help: "The release's name.")
        var release: String
        @Option(help: "The directory with its files.")
        var bundle: String
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
            } catch {
                printError("\(error)")
                throw ExitCode(1)
            }
        }

        private func adopt(_ name: ReleaseName, _ configuration: AgentConfiguration) async throws
            -> Adopted
        {
            try makeDirectory(configuration.directories.state, mode: 0o700)
            try makeDirectory(configuration.actionOutput, mode: 0o700)
            // Holds the lock of a running agent.
            let journal = try AgentJournal.open(configuration.journal)
            defer { withExtendedLifetime(journal) {} }
            let bundle = try Bundle.read(directory: bundle, name: name, assets: assets)
            let reference = bundle.manifest.reference
            let store = try ReleaseStore(configuration.releases)
            let current = try await store.current()
            if let current, current.release != reference {
                throw SystemFailure(
                    "\(configuration.directories.app) serves \(current.release.name) already; upgrade it with a plan"
                )
            }
            try await store.stage(
                manifest: bundle.manifest.encoded, as: reference, from: BundleBlobs(bundle: bundle))
            try await run(action, for: reference, store, configuration)
            let generation =
                if let current { current.generation } else { try await store.nextGeneration() }
            _ = try await store.activate(reference, generation: generation)
            return Adopted(
                release: reference, directory: store.filesDirectory(of: reference),
                socket: store.socketPath(of: reference), generation: generation.rawValue)
        }

        private func run(
            _ names: [String], for release: ReleaseReference, _ store: ReleaseStore,
            _ configuration: AgentConfiguration
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
                    socket: store.socketPath(of: release))
                let outcome = await runner.run(action, context)
                guard outcome.state == .done else {
                    throw SystemFailure(
                        "the action \(text): \(outcome.state.rawValue): \(outcome.output)")
                }
            }
        }
    }
}

/// The blobs of a bundle on this machine.
private struct BundleBlobs: BlobSource {
    var bundle: Bundle

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        guard let entry = bundle.manifest.entries.first(where: { $0.digest == digest }) else {
            throw SystemFailure("the bundle has no file with the digest \(digest)")
        }
        let path = bundle.file(of: entry)
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
