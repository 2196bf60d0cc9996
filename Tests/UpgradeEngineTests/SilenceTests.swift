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

    /// By their ports the database knows the sessions of what is frozen, and ends them before writes open.
    @Test func whoeverLowersTheFenceKnowsHowFrozenProcessesAreConnected() throws {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.connections = ["10.0.0.2:41218->10.0.0.9:5432"]
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        let task = try #require(world.database.performed.last { $0.kind == .lowerFence })
        #expect(task.frozenConnections == [["10.0.0.2:41218->10.0.0.9:5432"]])
        for other in world.database.performed where other.kind != .lowerFence {
            #expect(other.frozenConnections == nil)
        }
    }

    /// What goes on again on the way back keeps its sessions.
    @Test func onTheWayBackNobodyIsTakenForFrozen() throws {
        var world = ScenarioWorld()
        for node in world.nodes.keys {
            world.nodes[node]?.connections = ["10.0.0.2:41218->10.0.0.9:5432"]
        }
        world.nodes[Self.node]?.failsToFreeze = true
        world.start(ScenarioTests.plan(budget: 2))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        let task = try #require(world.database.performed.last { $0.kind == .lowerFence })
        #expect(task.frozenConnections == nil)
    }

    /// What each node freezes by itself while the next batch flips, writers do not wait for before the lift.
    @Test func eachNodeSilencesWhatItHasReplacedBeforeItIsProved() {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan())
        world.settle(untilBegun: .upgraded(batch: 1))
        let directives = world.core.directives
        #expect(directives[NodeName(unchecked: "web-1")]?.replaced == ScenarioWorld.old)
        #expect(directives[Self.node]?.replaced == ScenarioWorld.old)
        #expect(directives[NodeName(unchecked: "web-3")]?.replaced == nil, "its batch is to come")
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.core.directives.values.allSatisfy { $0.replaced == nil })
    }

    /// Where a batch is watched, a person is asked or an action runs before the proof, the old release goes on until then.
    @Test(arguments: [
        "bake: 1m", "approvals: [verify]", "hooks: [{after: rollout, run: check}]",
        "hooks: [{before: verify, run: check}]",
    ]) func nothingIsSilencedEarlyWhereSomethingComesBetween(_ words: String) {
        var world = ScenarioWorld()
        let plan = ScenarioTests.plan()
        world.start(
            words.hasPrefix("bake")
                ? plan.replacing("  canary: 1", with: "  canary: 1\n  \(words)")
                : words.hasPrefix("approvals")
                    ? plan.replacing("approvals: []", with: words) : plan + "\n\(words)\n")
        world.settle(untilBegun: .upgraded(batch: 0))
        #expect(world.theRun.begun.contains(.upgraded(batch: 0)))
        #expect(world.core.directives.values.allSatisfy { $0.replaced == nil })
    }

    /// A worker that something starts again, a cron job: the agent ends it, and the run says it, once for each doubling.
    @Test func whatOfTheOldReleaseRunsAfterTheLiftIsSaid() throws {
        var world = ScenarioWorld()
        world.on(.finish) { $0.nodes[Self.node]?.late = Self.late(2) }
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        let report = try #require(RunReport(world.journal))
        let said = report.troubles.filter { $0.kind == .oldRelease }
        #expect(said.map(\.node) == [Self.node])
        #expect(
            said.first?.message.hasPrefix(
                "v1 ran on web-2 after the lift, and was ended: 2 processes: cron.py 7") == true)
        #expect(said.first?.message.contains("stop what starts it there") == true)
        try Transcript.compare(world, "silence/late")
    }

    @Test func ofWhatComesAgainAndAgainEachDoublingIsStored() {
        var world = ScenarioWorld()
        world.database.hanging = [.contract]
        world.start(ScenarioTests.plan())
        world.settle(untilBegun: .database(.contract))
        for count in 1...9 {
            world.nodes[Self.node]?.late = Self.late(count)
            world.report(Self.node)
        }
        let stored = world.journal.compactMap { recorded -> Int? in
            if case .oldReleaseSeen(let seen) = recorded.event { seen.late.count } else { nil }
        }
        #expect(stored == [1, 2, 4, 8])
    }

    private static func late(_ count: Int) -> LateProcesses {
        LateProcesses(
            count: count,
            examples: ["cron.py 7 (was started for it; connected to 10.0.0.5:5432 from port 4711)"])
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
