// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// A node that says nothing may serve the old release: nobody can prove otherwise but a person who knows that it is off.
@Suite struct NodeOffTests {
    private static let lost = NodeName(unchecked: "web-2")

    /// Lost while the release is staged, within the budget.
    private func world(onFailure: String) -> ScenarioWorld {
        var world = ScenarioWorld()
        world.on(.stage) { $0.nodes[Self.lost]?.isLost = true }
        world.start(ScenarioTests.plan(onFailure: onFailure, budget: 1))
        world.settle()
        return world
    }

    @Test func theWindowIsNotBegunWhileANodeThatWasLeftBehindIsSilent() throws {
        let world = world(onFailure: "rollback")
        #expect(world.theRun.state == .rolledBack)
        #expect(!world.text.contains("writes hold"))
        #expect(world.theRun.because?.contains("nothing is heard from web-2") == true)
    }

    @Test func aPersonWhoKnowsThatTheNodeIsOffLetsTheRunGoOnWithoutIt() throws {
        var world = world(onFailure: "pause")
        #expect(world.theRun.state == .waiting)
        #expect(
            world.theRun.next?.contains("`sluice resolve r1 --off web-2 --reason TEXT`") == true)
        world.demand(.takeOff(Self.lost))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.members[Self.lost]?.quarantine == "off, says alice")
        #expect(world.violations == [])
        try Transcript.compare(world, "ways-out/node-off")
    }

    @Test func aNodeThatWasSaidToBeOffAndIsHeardIsWaitedForAgain() throws {
        var world = world(onFailure: "pause")
        world.on(.migrate) {
            $0.nodes[Self.lost]?.isLost = false
            $0.report(Self.lost)
        }
        world.demand(.takeOff(Self.lost))
        world.settle()
        #expect(world.text.contains("web-2 is heard again"))
        #expect(world.theRun.members[Self.lost]?.isOff == false)
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test func aNodeThatSpeaksIsNotOff() {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan(budget: 1))
        world.settle(untilBegun: .staged)
        world.demand(.takeOff(Self.lost))
        #expect(world.text.contains("refused: the node web-2 is not off: it was heard just now"))
    }

    @Test func nobodyMayTakeTheLastNodeOff() {
        var world = ScenarioWorld(nodes: 1)
        world.start(ScenarioTests.plan(onFailure: "pause", budget: 1))
        world.settle(untilBegun: .staged)
        world.pass(.seconds(60))
        world.demand(.takeOff(NodeName(unchecked: "web-1")))
        #expect(world.text.contains("refused: without web-1, no node would be left"))
    }
}
