// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import NodeEngine
import Releases
import TestSupport
import Testing
import UpgradeModel

@testable import NodeAgent

/// A bundle says what it needs of a node; the node looks before it takes the release.
@Suite(.serialized, .timeLimit(.minutes(2))) struct NeedsTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private static let actions = """
        actions:
          python-version: {command: [/bin/echo, "Python 3.11.2"], answers_needs: true}
          broken: {command: [/bin/false], answers_needs: true}
          reboot: {command: [/usr/bin/touch, ROOT/rebooted]}
        """

    private func staged(_ needs: String) async throws -> (status: NodeStatus, node: TestNode) {
        let node = try TestNode(coordinator, extra: Self.actions)
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2", ReleaseNeeds.file: needs])
        let status = try await node.withAgent {
            coordinator.say(directive(1) { $0.stage = v2 })
            return try await coordinator.status {
                $0.staged.contains(v2) || !$0.failures.isEmpty
            }
        }
        return (status, node)
    }

    @Test func aNodeThatHasAllOfItTakesTheRelease() async throws {
        let (status, _) = try await staged(
            "path /bin/sh\nanswer python-version Python 3.11.*\nanswer python-version Python 3.11.2\n"
        )
        #expect(
            status.failures == [] && status.staged.map(\.name.rawValue).sorted() == ["v1", "v2"])
    }

    @Test func aNodeThatLacksSomethingSaysAllThatItLacksAndWhatWasFound() async throws {
        let (status, node) = try await staged(
            """
            path /usr/lib/absent/libpq.so.5
            path /bin/sh
            answer python-version Python 3.12.*
            answer broken 1
            answer absent 1
            """)
        let said = try #require(status.failures.first?.message)
        for words in [
            "this node lacks what v2 needs: /usr/lib/absent/libpq.so.5 is not there; ",
            "python-version says Python 3.11.2, and Python 3.12.* is needed; ",
            "broken failed", "`absent` is not among the actions",
        ] { #expect(said.contains(words), "\(said)") }
        #expect(!said.contains("/bin/sh"))
        // Nothing of it is there, and it can be brought again once the node has what it lacks.
        let releases = try FileManager.default.contentsOfDirectory(
            atPath: node.root + "/app/releases")
        #expect(releases.map { $0.prefix(3) } == ["v1."])
    }

    /// Whoever builds bundles does not decide what runs on a node.
    @Test func anActionThatMayNotBeAskedIsNotRun() async throws {
        let (status, node) = try await staged("answer reboot 1\n")
        #expect(status.failures.first?.message.contains("`answers_needs: true`") == true)
        #expect(!FileManager.default.fileExists(atPath: node.root + "/rebooted"))
    }
}
