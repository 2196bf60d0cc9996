// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// Before the fence goes down, the old release of every node has been silenced.
@Suite struct SilenceTests {
    static let node = NodeName(unchecked: "web-2")

    @Test func aNodeThatCannotSilenceItsOldReleaseTurnsTheRunBackAndTheOthersGoOn() throws {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.failsToFreeze = true
        world.start(ScenarioTests.plan(budget: 2))
        world.on(.lift, .back) { _ in }
        world.settle(untilBegun: .silenced)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.reason?.contains("4 processes do not stop") == true)
        try Transcript.compare(world, "silence/fails")
    }

    @Test func aQuarantinedNodeIsSilencedLikeTheOthers() {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.failingGoal = .activate
        world.start(ScenarioTests.plan(budget: 1))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.quarantined == [Self.node])
        #expect(world.core.directives[Self.node]?.silenced == ScenarioWorld.old)
    }

    @Test func anAgentThatIsTooOldIsFoundInPreflight() {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.isOld = true
        world.start(ScenarioTests.plan(budget: 3))
        world.settle()
        #expect(world.theRun.state == .refused, "no budget makes up for it")
        #expect(world.theRun.reason?.contains("cannot silence the old release") == true)
    }

    @Test func whatIsSilencedStaysSoAfterTheRun() {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.core.directives.values.allSatisfy { $0.silenced == ScenarioWorld.old })
    }

    @Test func aPlanWithoutADatabaseSilencesNothing() {
        var world = ScenarioWorld()
        world.start(
            ScenarioTests.plan().replacing(
                "database: {url: env:URL, migrations: ../migrations}\n", with: ""))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(!world.text.contains("silence"))
    }
}
