// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import ArgumentParser
import FoundationEssentials
import Releases

extension AgentCommand {
    struct Prune: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove old releases from this node, for a disk without room.",
            discussion: """
                Runs remove old releases by themselves when they finish; this is for a run that has no room to begin. The agent must \
                not run. What is served stays, and of the others those that were served last; a release that was only staged is \
                fetched again when a run asks for it.
                """)
        @OptionGroup var options: Options
        @Option(help: "How many releases stay, the one that is served among them.")
        var keep = 2
        @Flag(help: "As one line of JSON.")
        var json = false

        private struct Pruned: Codable {
            var type = "prune"
            var removed: [String]
            var kept: [String]
        }

        func run() async throws {
            guard keep >= 1 else { throw ValidationError("what is served stays: --keep 1 or more") }
            let configuration = try options.read()
            do {
                // Holds the lock of a running agent.
                let journal = try AgentJournal.open(configuration.journal)
                defer { withExtendedLifetime(journal) {} }
                let store = try ReleaseStore(configuration.releases)
                guard try await store.current() != nil else {
                    throw SystemFailure(
                        "\(configuration.directories.app) serves no release, so nobody knows which to keep: `sluice-agent adopt` first"
                    )
                }
                let removed = try await store.prune(keeping: keep)
                let pruned = Pruned(
                    removed: removed.releases.map(\.identifier),
                    kept: try await store.staged().map(\.identifier).sorted())
                try say(pruned)
            } catch {
                printError("\(error)")
                throw ExitCode(1)
            }
        }

        private func say(_ pruned: Pruned) throws {
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
                return print(String(decoding: try encoder.encode(pruned), as: UTF8.self))
            }
            let removed = pruned.removed
            print("removed \(removed.isEmpty ? "none" : removed.joined(separator: ", "))")
            print("kept    \(pruned.kept.joined(separator: ", "))")
        }
    }
}
