// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// The application's own migration tool in a run.
@Suite struct ToolTests {
    private static let canary = NodeName(unchecked: "web-1")

    private static func plan(
        _ more: String = "", onFailure: String = "rollback", budget: Int = 0, reads: String = "hold"
    ) -> String {
        ScenarioTests.plan(
            onFailure: onFailure, budget: budget, reads: reads,
            tool: "run: migrate, ledger: django\(more)")
    }

    private static let reverting = ", revert_with: migrate-back"

    private func world(_ plan: String, _ tools: [ToolBehaviour] = []) -> ScenarioWorld {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.tools = tools
        world.start(plan)
        world.settle()
        return world
    }

    private func expect(
        _ world: ScenarioWorld, _ state: RunState, runs: Int, _ transcript: String? = nil
    ) throws {
        #expect(world.theRun.state == state)
        #expect(world.database.tool.runs == runs)
        #expect(world.violations == [])
        if let transcript { try Transcript.compare(world, "tool/\(transcript)") }
    }

    @Test func theToolRunsOnceOnTheCanaryBetweenTwoLooksOfTheDatabase() throws {
        let world = world(Self.plan(Self.reverting))
        try expect(world, .done, runs: 1, "straight-run")
        #expect(world.done(by: "migrate") == ["web-1"])
        #expect(world.database.performed.first { $0.kind == .openPass }?.pass != nil)
    }

    @Test func aPlanMayNameNoMigrationsOfItsOwn() throws {
        let text = Self.plan(Self.reverting).replacing("migrations: ../migrations, ", with: "")
        try expect(world(text), .done, runs: 1)
    }

    @Test func theToolRunsOnTheNodeThatThePlanNames() throws {
        let world = world(Self.plan(", node: web-3"))
        try expect(world, .done, runs: 1)
        #expect(world.done(by: "migrate") == ["web-3"])
    }

    @Test func aToolThatFailsWithoutAChangeTurnsTheRunBackAndUndoesNothing() throws {
        let world = world(Self.plan(Self.reverting), [.failsUnchanged])
        try expect(world, .rolledBack, runs: 1, "fails-unchanged")
        #expect(world.done(by: "migrate-back") == [])
    }

    @Test func aToolThatFailsHalfwayIsUndoneWhereThePlanSaysSo() throws {
        let world = world(Self.plan(Self.reverting + ", on_partly: back"), [.failsPartly])
        try expect(world, .rolledBack, runs: 1, "partly-back")
        #expect(world.done(by: "migrate-back") == ["web-1"])
    }

    @Test func aToolThatFailsHalfwayIsRunAgainWhereThePlanSaysSo() throws {
        let again = Self.plan(", on_partly: again")
        try expect(world(again, [.failsPartly]), .done, runs: 2, "partly-again")
        // Not for ever.
        let often = world(again, [.failsPartly, .failsPartly, .failsPartly])
        try expect(often, .waiting, runs: 3)
    }

    @Test func aToolThatFailsHalfwayWaitsForAPersonWhoHasItGoOn() throws {
        var world = world(Self.plan(Self.reverting), [.failsPartly])
        try expect(world, .waiting, runs: 1)
        world.request(.retry)
        world.settle()
        try expect(world, .done, runs: 2, "partly-person")
    }

    @Test func whatAToolHasDoneIsUndoneWhenTheCanaryIsNotHealthy() throws {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.isUnhealthy = true
        world.start(Self.plan(Self.reverting))
        world.settle()
        try expect(world, .rolledBack, runs: 1, "canary-unhealthy")
    }

    @Test func withoutAWayBackTheRunTurnsBackNoMoreByItself() throws {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.isUnhealthy = true
        world.start(Self.plan())
        world.settle()
        try expect(world, .waiting, runs: 1)
        #expect(world.theRun.direction == .forward)
        let advice = try #require(world.theRun.stopped?.advice)
        #expect(advice.contains("no `revert_with`"))
        // A person who turns it back has to put the database back as well.
        world.request(.rollback)
        world.settle()
        try expect(world, .waiting, runs: 1)
        world.request(.retry)
        world.settle()
        try expect(world, .waiting, runs: 1)
        world.note("a person puts the database back")
        world.database.tool.restore()
        world.request(.retry)
        world.settle()
        try expect(world, .rolledBack, runs: 1, "no-way-back")
    }

    @Test func whoHasTurnedBackWithoutAWayBackCanGoForwardAfterAll() throws {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.isUnhealthy = true
        world.start(Self.plan())
        world.settle()
        world.request(.rollback)
        world.settle()
        #expect(world.theRun.next?.contains("`sluice retry r1 --forward`") == true)
        world.nodes[Self.canary]?.isUnhealthy = false
        world.demand(.goForward)
        world.settle()
        // The tool runs again, and finds that all is done.
        try expect(world, .done, runs: 2)
    }

    @Test func aWayBackThatFailsWaitsAndIsTriedAgainFromALook() throws {
        var world = world(
            Self.plan(Self.reverting + ", on_partly: back"), [.failsPartly, .failsPartly])
        try expect(world, .waiting, runs: 1)
        world.request(.retry)
        world.settle()
        try expect(world, .rolledBack, runs: 1, "way-back-fails")
    }

    @Test func aToolThatDoesNotEndIsLookedAtWhenItsTimeIsOver() throws {
        let text = Self.plan(Self.reverting + ", on_partly: back, timeout: 30s")
        let world = world(text, [.hangs])
        try expect(world, .rolledBack, runs: 1, "hangs")
        #expect(world.text.contains("it did not end within 30s"))
    }

    @Test func aToolWhoseEndNobodySawIsNotRunAgainBeforeTheDatabaseHasSaidWhatItHasDone() throws {
        let world = world(Self.plan(", on_partly: again"), [.interrupted])
        try expect(world, .done, runs: 2)
    }

    @Test func aNodeThatIsLostWithTheToolIsJudgedByTheDatabase() throws {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.tools = [.hangs]
        world.start(Self.plan(Self.reverting + ", on_partly: back"))
        world.settle(untilBegun: .tool)
        world.note("web-1 is lost")
        world.nodes[Self.canary]?.isLost = true
        world.settle(untilBegun: nil)
        // What the tool has begun before its node was lost, nobody undoes there.
        #expect(world.database.tool.pass == nil)
        #expect(world.violations == [])
    }

    @Test(arguments: ["open", "tool", "close"]) func aNewLeaderGoesOnWhereTheToolIs(place: String)
        throws
    {
        var world = ScenarioWorld()
        world.start(Self.plan(Self.reverting))
        let step: Step =
            switch place {
            case "open": .database(.openPass)
            case "tool": .tool
            default: .database(.closePass)
            }
        world.settle(untilBegun: step)
        world.restart()
        world.settle()
        try expect(world, .done, runs: 1, "new-leader-at-\(place)")
    }

    @Test func preflightRefusesANodeWhoseAgentMakesNoPassOrLacksTheAction() throws {
        var old = ScenarioWorld()
        old.nodes[Self.canary]?.makesNoPass = true
        old.start(Self.plan())
        old.settle()
        try expect(old, .refused, runs: 0)
        #expect(old.theRun.reason?.contains("cannot let a migration tool through") == true)
        var lacking = ScenarioWorld()
        lacking.nodes[Self.canary]?.missingAction = "migrate-back"
        lacking.start(Self.plan(Self.reverting))
        lacking.settle()
        try expect(lacking, .refused, runs: 0)
        #expect(lacking.theRun.reason?.contains("`migrate-back` is not among the actions") == true)
    }

    @Test func anotherNodeRunsTheToolWhenTheCanaryIsQuarantinedBefore() throws {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.failingGoal = .stage
        world.start(Self.plan(budget: 1))
        world.settle()
        try expect(world, .done, runs: 1, "another-node")
        #expect(world.done(by: "migrate") == ["web-2"])
    }

    @Test func aPersonWhoTurnsBackWhileTheToolRunsHasItEndedFirst() throws {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.tools = [.hangs]
        world.start(Self.plan(Self.reverting))
        world.settle(untilBegun: .tool)
        world.settleAtOnce()
        #expect(world.theRun.current?.step == .tool)
        world.note("a person turns back while the tool runs")
        world.request(.rollback)
        world.settle()
        try expect(world, .rolledBack, runs: 1, "rollback-while-it-runs")
    }
}

extension Run {
    fileprivate var stopped: Stopped? {
        if case .stopped(let stopped) = standing { stopped } else { nil }
    }
}
