// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// A release that starts after the migration: on all nodes at once, before the first of them flips.
@Suite struct StartTests {
    static let node = NodeName(unchecked: "web-2")

    private func plan(reads: String = "hold", budget: Int = 0, onFailure: String = "rollback")
        -> String
    {
        ScenarioTests.plan(
            onFailure: onFailure, budget: budget, reads: reads, start: "after-migration")
    }

    @Test(arguments: ["serve", "hold"])
    func theNewReleaseStartsOnAllNodesOnceTheSchemaIsItsOwn(reads: String) throws {
        var world = ScenarioWorld()
        world.start(plan(reads: reads))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
        try Transcript.compare(world, "start/reads-\(reads)")
    }

    @Test(arguments: ["serve", "hold"])
    func aStartThatFailsBringsTheOldSchemaBackAndHaltsWhatHasStarted(reads: String) throws {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.failingTask = "start-app"
        world.start(plan(reads: reads))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
        try Transcript.compare(world, "start/fails-reads-\(reads)")
    }

    @Test func aReleaseThatDoesNotAnswerIsNeverFlippedTo() throws {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.isUnhealthy = true
        world.start(plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!world.text.contains("active v2"))
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
    }

    @Test func aFlippedNodeIsHaltedAfterItServesTheOldReleaseAgain() throws {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.failingTask = "reload"
        world.start(plan(reads: "serve"))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
        try Transcript.compare(world, "start/second-batch-fails")
    }

    @Test func aNodeThatDoesNotStartIsLeftBehindWithinTheBudget() throws {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.failingTask = "start-app"
        world.start(plan(budget: 1))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.quarantined == [Self.node])
        #expect(world.violations == [])
    }

    @Test func aNodeThatIsLostWhileTheReleaseStartsTurnsTheRunBack() throws {
        var world = ScenarioWorld()
        world.on(.rollout) { $0.nodes[Self.node]?.isLost = true }
        world.start(plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(world, "start/node-lost")
    }

    @Test func aStartThatFailedIsTriedAgainUnderANewName() {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.failingTask = "start-app"
        world.start(plan(onFailure: "pause"))
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.nodes[Self.node]?.failingTask = nil
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test func anAgentThatCannotAskBesideTheProxyIsFoundInPreflight() {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.lacksAbilities = true
        world.start(plan(budget: 3))
        world.settle()
        #expect(world.theRun.state == .refused, "no budget makes up for it")
        #expect(
            world.theRun.reason?.contains("cannot ask the new release at its own socket") == true)
    }

    @Test func aNodeThatHasTheReleaseAlreadyIsNotHaltedOnTheWayBack() {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.active.release = ScenarioWorld.new
        world.nodes[NodeName(unchecked: "web-1")]?.failingTask = "start-app"
        world.start(plan().replacing("expected: v1, ", with: ""))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.core.directives[Self.node]?.silenced == nil)
        #expect(
            world.core.directives[NodeName(unchecked: "web-1")]?.silenced == ScenarioWorld.new)
    }

    @Test func aPlanWithoutADatabaseStartsInStage() {
        var world = ScenarioWorld()
        world.start(
            plan().replacing("database: {url: env:URL, migrations: ../migrations}\n", with: ""))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(!world.theRun.begun.contains(.started))
        #expect(world.done(by: "start-app") == ["web-1", "web-2", "web-3"])
    }

    /// Another preflight refusal of the same kind: a plan of a version needs nodes that can switch to one.
    @Test func aNodeThatCannotSwitchVersionsIsFoundInPreflight() {
        let plan = ScenarioTests.plan().replacing(
            "bundle: ../v2", with: "by: actions, version: sha256:ab12")
        var world = ScenarioWorld()
        world.nodes[Self.node]?.lacksAbilities = true
        world.start(plan)
        world.settle()
        #expect(world.theRun.state == .refused)
        #expect(world.theRun.reason?.contains("name the actions under `release.switch`") == true)
        var other = ScenarioWorld()
        other.start(plan)
        other.settle()
        #expect(other.theRun.state == .done)
    }
}
