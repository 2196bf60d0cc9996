// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// The way back ends with an old release that answers, not with one that has been put in its place.
@Suite struct ReactivationTests {
    private static let nodes = ["web-1", "web-2", "web-3"].map { NodeName(unchecked: $0) }

    /// Turned back from the rollout, where the old release does not answer on some nodes.
    private func turnedBack(dead: [NodeName], reads: String = "hold") -> ScenarioWorld {
        var world = ScenarioWorld()
        world.nodes[Self.nodes[0]]?.isUnhealthy = true
        for node in dead { world.nodes[node]?.isOldDead = true }
        world.start(ScenarioTests.plan(reads: reads))
        world.settle()
        return world
    }

    @Test(arguments: ["hold", "serve"])
    func aNodeWhoseOldReleaseDoesNotAnswerIsLeftOutOfService(reads: String) throws {
        var world = turnedBack(dead: [Self.nodes[1]], reads: reads)
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.quarantined == [Self.nodes[1]])
        let left = try #require(world.core.directives[Self.nodes[1]])
        #expect(left.service == .out && !left.writes.isOpen)
        #expect(world.violations == [])
        // It is started, and takes part again.
        world.nodes[Self.nodes[1]]?.isOldDead = false
        var node = try #require(world.nodes[Self.nodes[1]])
        world.put(.status(node.name, node.status()))
        world.nodes[node.name] = node
        #expect(world.theRun.quarantined.isEmpty)
        world.settle()
        #expect(world.core.directives[Self.nodes[1]]?.service == .in)
    }

    @Test func whereItAnswersNowhereAPersonIsAskedAndReadersDoNotWaitForThePerson() {
        var world = turnedBack(dead: Self.nodes)
        #expect(world.theRun.state == .waiting)
        #expect(world.text.contains("stopped: reactivate the old release failed on web-1"))
        for directive in world.core.directives.values {
            #expect(directive.health == nil && !directive.writes.isOpen)
            #expect(directive.reads.until == directive.active?.identity)
        }
        for node in Self.nodes { world.nodes[node]?.isOldDead = false }
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.quarantined.isEmpty)
        #expect(world.violations == [])
    }
}
