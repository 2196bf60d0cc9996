// SPDX-License-Identifier: Apache-2.0

import Releases
import Testing
import UpgradeModel

@testable import NodeAgent

/// `sluice-agent prune`, the way out where a disk has no room for the next release.
@Suite(.timeLimit(.minutes(5))) struct PruneTests {
    @Test func whatIsServedAndWhatWasServedLastStaysAndTheNextReleaseIsTaken() async throws {
        let node = try TestNode(try FakeCoordinator(), extra: "")
        var releases: [ReleaseReference] = []
        for name in ["v1", "v2", "v3"] {
            releases.append(try await node.adopt(name, files: ["a": name]))
        }
        let pruned = try await AgentProcess.run(node, ["prune"])
        #expect(pruned.status == 0, "\(pruned.output)")
        #expect(pruned.output.contains("removed \(releases[0].identifier)\n"))
        let store = try ReleaseStore(node.configuration.releases)
        #expect(try await store.current()?.release == releases[2])
        #expect(Set(try await store.staged()) == Set(releases[1...]))
        // Whoever is gone is fetched again when a run asks for it.
        try await node.adopt("v1", files: ["a": "v1"])
        #expect(try await store.current()?.release == releases[0])
        #expect(try await AgentProcess.run(node, ["prune", "--keep", "1", "--json"]).status == 0)
        #expect(try await store.staged() == [releases[0]])
    }

    @Test func besideARunningAgentAndWithoutAReleaseNothingIsRemoved() async throws {
        let coordinator = try FakeCoordinator()
        let node = try TestNode(coordinator, extra: "")
        let empty = try await AgentProcess.run(node, ["prune"])
        #expect(empty.status == 1 && empty.output.contains("`sluice-agent adopt` first"))
        try await node.adopt("v1", files: ["a": "1"])
        try await node.adopt("v2", files: ["a": "2"])
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        _ = try await coordinator.status { $0.active?.release.name.rawValue == "v2" }
        let refused = try await AgentProcess.run(node, ["prune", "--keep", "1"])
        #expect(refused.status == 1 && refused.output.contains("another agent has"))
        #expect(try await ReleaseStore(node.configuration.releases).staged().count == 2)
    }
}
