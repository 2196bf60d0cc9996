// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import NodeEngine
import Releases
import TestSupport
import Testing
import UpgradeModel

@testable import NodeAgent

/// An old release that writes for as long as it lives, as a WebSocket or a thread in the background makes it do.
@Suite(.serialized, .timeLimit(.minutes(5))) struct SilentReleaseTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    /// Detaches, as actions have to, and writes.
    private let actions = """
        actions:
          start:
            command: [/usr/bin/setsid, /usr/bin/python3, -c, 'import os, time; os.fork() and os._exit(0); n = os.open("/dev/null", os.O_RDWR); [os.dup2(n, i) for i in range(3)]; os.fork(); f = os.open("ROOT/written", os.O_WRONLY | os.O_CREAT | os.O_APPEND); list(iter(lambda: (os.write(f, b"."), time.sleep(0.001))[0], 0))']
        """

    private func written(_ node: TestNode) -> Int { Int(node.size("written")) }

    private func isWriting(_ node: TestNode) async throws -> Bool {
        let before = written(node)
        for _ in 0..<20 {
            try await Task.sleep(for: .milliseconds(5))
            if written(node) > before { return true }
        }
        return false
    }

    private func goal(_ release: ReleaseReference, _ identity: String) -> ActivationGoal {
        ActivationGoal(release: release, identity: ActivationIdentity(unchecked: identity))
    }

    private func untilItWrites(_ node: TestNode) async throws {
        let before = written(node)
        try await until("the old release writes") { written(node) > before }
    }

    /// A node that serves v2, with a v1 that writes.
    private func node() async throws -> (TestNode, ReleaseReference, Directive) {
        let node = try TestNode(coordinator, extra: actions)
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        let wanted = directive(1) {
            $0.run = RunIdentifier(unchecked: "run-1")
            $0.writes = holding
            $0.lease = Lease(duration: .minutes(5), onExpiry: .keep)
            $0.stage = v2
            $0.tasks = [task("start.1", "start", release: v1)]
            $0.active = goal(v2, "forward")
        }
        return (node, v1, wanted)
    }

    /// The agent is killed at some instant of each step.
    @Test(arguments: [0, 1, 2]) func nothingOfTheOldReleaseWritesAfterTheLift(kills: Int)
        async throws
    {
        let (node, v1, wanted) = try await node()
        coordinator.say(wanted)
        var agent = try AgentProcess(node)
        defer { agent.kill() }
        _ = try await coordinator.status { $0.active?.identity?.rawValue == "forward" }
        try await untilItWrites(node)

        var silent = wanted
        silent.revision = 2
        silent.silenced = v1
        coordinator.say(silent)
        for _ in 0..<kills {
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...30)))
            agent.kill()
            agent = try AgentProcess(node)
        }
        let status = try await coordinator.status {
            $0.revision == 2 && $0.silenced?.state == .silent
        }
        #expect(status.silenced?.release == v1 && status.silenced?.frozen == 2)
        let before = written(node)
        #expect(try await !isWriting(node))

        var open = silent
        open.revision = 3
        open.writes = .open
        coordinator.say(open)
        for _ in 0..<kills {
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...30)))
            agent.kill()
            agent = try AgentProcess(node)
        }
        _ = try await coordinator.status { $0.revision == 3 && $0.silenced?.state == .silent }
        #expect(written(node) == before, "what waited in it was not done")
        var rest = open
        rest.revision = 4
        rest.run = nil
        rest.silenced = nil
        coordinator.say(rest)
        _ = try await coordinator.status { $0.revision == 4 && $0.silenced?.state == .idle }
        #expect(written(node) == before)
    }

    /// A supervisor that nobody has told starts the old release again.
    @Test func whatIsStartedAgainAfterTheLiftIsEndedAndSaid() async throws {
        let (node, v1, wanted) = try await node()
        coordinator.say(wanted)
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        _ = try await coordinator.status { $0.active?.identity?.rawValue == "forward" }
        var open = wanted
        open.revision = 2
        open.silenced = v1
        coordinator.say(open)
        _ = try await coordinator.status { $0.revision == 2 && $0.silenced?.state == .silent }
        open.revision = 3
        open.writes = .open
        coordinator.say(open)
        let lifted = try await coordinator.status {
            $0.revision == 3 && $0.silenced?.state == .silent
        }
        #expect(lifted.silenced?.late == nil)

        let again = try ChildProcess(
            ["/usr/bin/python3", "-c", "import time; time.sleep(300)"],
            environment: ["SLUICE_RELEASE": v1.identifier])
        let late = try await coordinator.status { $0.silenced?.late != nil }
        #expect(late.silenced?.late?.count == 1)
        #expect(
            late.silenced?.late?.examples == [
                "python3 \(again.identifier) (was started for it)"
            ])
        #expect((1...64).contains(again.wait()))
    }

    @Test func onTheWayBackItWorksAsBefore() async throws {
        let (node, v1, wanted) = try await node()
        coordinator.say(wanted)
        let agent = try AgentProcess(node)
        defer { agent.kill() }
        _ = try await coordinator.status { $0.active?.identity?.rawValue == "forward" }
        var silent = wanted
        silent.revision = 2
        silent.silenced = v1
        coordinator.say(silent)
        _ = try await coordinator.status { $0.silenced?.state == .silent }
        #expect(try await !isWriting(node))

        var back = wanted
        back.revision = 3
        back.active = goal(v1, "back")
        coordinator.say(back)
        _ = try await coordinator.status {
            $0.active?.identity?.rawValue == "back" && $0.silenced?.state == .idle
        }
        try await untilItWrites(node)

        // So that the test leaves nothing running: v2 is served, and v1 is ended.
        var over = silent
        over.revision = 4
        over.active = goal(try #require(wanted.active).release, "again")
        over.writes = .open
        coordinator.say(over)
        _ = try await coordinator.status { $0.revision == 4 && $0.silenced?.state == .silent }
        #expect(try await !isWriting(node))
    }
}
