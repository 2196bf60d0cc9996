// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// Reads from a frozen standby by an application that runs once: the nodes' own actions switch it there, and from there to the new release.
@Suite struct SwitchedDatabaseTests {
    static let node = NodeName(unchecked: "web-2")
    static let reader = ScenarioWorld.old.on(.standby)

    /// The same plan for a version.
    static func switched(_ plan: String) -> String {
        plan.replacing("bundle: ../v2", with: "by: actions, version: \"2.0\"")
    }

    private func world(budget: Int = 0, isReal: Bool = false) -> ScenarioWorld {
        var world = ScenarioWorld(isReal: isReal)
        world.database.standby = FakeStandby()
        world.start(Self.switched(ScenarioTests.plan(budget: budget, reads: "standby")))
        return world
    }

    @Test func readsWaitOnlyWhileANodeSwitches() throws {
        var world = world()
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
        #expect(!world.text.contains("start-app on the standby"), "nothing is started there")
        #expect(!world.text.contains("stop-app on the standby"), "and nothing ended")
        try Transcript.compare(world, "standby/straight-run-switched")
    }

    /// What is served on the way back has the directory of the release that the run has silenced: it goes on, and is never ended.
    @Test func theWayBackByPromotionSwitchesOnceMore() throws {
        var world = world()
        world.nodes[Self.node]?.isUnhealthy = true
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.database.promotion == .done)
        #expect(world.nodes.values.allSatisfy { $0.active.release == Self.reader })
        #expect(!world.theRun.begunBack.contains(.oldEnded))
        #expect(
            world.core.directives.values.allSatisfy { $0.silenced == nil && $0.replaced == nil })
        #expect(world.violations == [])
        try Transcript.compare(world, "standby/canary-unhealthy-switched")
    }

    @Test(arguments: [Phase.migrate, .rollout, .verify])
    func everyNodeGoesBackToTheStandbyWhicheverItServes(phase: Phase) {
        var world = world(isReal: true)
        world.on(phase) { $0.request(.rollback) }
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.nodes.values.allSatisfy { $0.active.release == Self.reader })
        #expect(world.violations == [])
    }

    @Test func aNodeThatIsNotSwitchedTurnsTheRunBackToThePrimary() {
        var world = world(budget: 1)
        world.settle(untilBegun: .database(.census))
        world.nodes[Self.node]?.failingGoal = .activate
        world.settle(untilBegun: .reactivated)
        world.nodes[Self.node]?.failingGoal = nil
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!world.database.performed.contains { $0.kind == .migrate })
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        #expect(world.violations == [])
    }

    @Test func aNodeWhoseActionsKnowNoStandbyIsFoundInPreflight() {
        var world = world(budget: 3)
        world.nodes[Self.node]?.lacksAbilities = true
        world.settle()
        #expect(world.theRun.state == .refused)
        #expect(world.theRun.reason?.contains("say `standby: true`") == true)
    }
}
