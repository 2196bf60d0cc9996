// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// The application's own migration tool before the window and after the lift, and what it says that it would do.
@Suite struct ToolOutsideTests {
    private static let canary = NodeName(unchecked: "web-1")
    private static let moments = ", expand_with: migrate-early, contract_with: migrate-late"
    private static let reverting = ", revert_with: migrate-back"

    private static func plan(_ more: String = moments, approvals: String = "[]") -> String {
        ScenarioTests.plan(approvals: approvals, tool: "run: migrate, ledger: django\(more)")
    }

    /// - Parameter tools: what the canary's runs of the tool do, one after the other; the rest ends well.
    private func world(
        _ plan: String, _ tools: [ToolBehaviour] = [], isUnhealthy: Bool = false
    ) -> ScenarioWorld {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.tools = tools
        world.nodes[Self.canary]?.isUnhealthy = isUnhealthy
        world.start(plan)
        world.settle()
        return world
    }

    private func expect(
        _ world: ScenarioWorld, _ state: RunState, early: Int, late: Int,
        _ transcript: String? = nil
    ) throws {
        #expect(world.theRun.state == state)
        #expect(world.database.tool.early.runs == early)
        #expect(world.database.tool.late.runs == late)
        #expect(world.violations == [])
        if let transcript { try Transcript.compare(world, "tool/\(transcript)") }
    }

    @Test func theToolRunsBeforeTheWindowAndAfterTheLiftWithoutAPass() throws {
        let world = world(Self.plan(Self.moments + Self.reverting))
        try expect(world, .done, early: 1, late: 1, "before-and-after")
        #expect(world.done(by: "migrate-early") == ["web-1"])
        #expect(world.done(by: "migrate-late") == ["web-1"])
    }

    @Test func whatItHasDoneBeforeTheWindowIsUndoneOnTheWayBack() throws {
        let world = world(Self.plan(Self.moments + Self.reverting), isUnhealthy: true)
        try expect(world, .rolledBack, early: 1, late: 0, "early-undone")
        let told = world.database.tool.early.level
        #expect(told == 0)
    }

    @Test func aToolThatFailsBeforeTheWindowWithoutAChangeTurnsTheRunBack() throws {
        let world = world(Self.plan(Self.moments + Self.reverting), [.failsUnchanged])
        try expect(world, .rolledBack, early: 1, late: 0, "early-fails-unchanged")
        #expect(world.done(by: "migrate-back") == [])
        #expect(world.theRun.windowOpened == nil)
    }

    @Test func aToolThatFailsHalfwayBeforeTheWindowIsRunAgainWhereThePlanSaysSo() throws {
        let again = Self.plan(Self.moments + Self.reverting + ", on_partly: again")
        try expect(
            world(again, [.failsPartly]), .done, early: 2, late: 1, "early-partly-again")
        // Not for ever.
        try expect(
            world(again, [.failsPartly, .failsPartly, .failsPartly]), .waiting, early: 3, late: 0)
        let back = Self.plan(Self.moments + Self.reverting + ", on_partly: back")
        try expect(world(back, [.failsPartly]), .rolledBack, early: 1, late: 0)
    }

    @Test func withoutAWayBackTheOldReleaseIsServedOnItUntilAPersonPutsItBack() throws {
        var world = world(Self.plan(), [.done, .failsUnchanged])
        try expect(world, .waiting, early: 1, late: 0)
        #expect(world.theRun.direction == .back)
        #expect(!world.database.isFenced)
        #expect(world.nodes.values.allSatisfy { $0.isGateOpen })
        #expect(world.theRun.next?.contains("the old release is served") == true)
        world.request(.retry)
        world.settle()
        try expect(world, .waiting, early: 1, late: 0)
        world.note("a person puts the database back")
        world.database.tool.restore()
        world.request(.retry)
        world.settle()
        try expect(world, .rolledBack, early: 1, late: 0, "early-no-way-back")
    }

    @Test func withoutAWayBackItMayStayWhenAPersonSaysSo() throws {
        var world = world(Self.plan(), [.done, .failsUnchanged])
        world.demand(.acceptSchema)
        world.settle()
        try expect(world, .rolledBack, early: 1, late: 0, "early-stays")
        #expect(world.database.tool.early.level == 2)
    }

    @Test func aWayBackThatFailsIsTriedAgainFromALook() throws {
        var world = world(
            Self.plan(Self.moments + Self.reverting), [.done, .failsUnchanged, .failsPartly])
        try expect(world, .waiting, early: 1, late: 0)
        world.request(.retry)
        world.settle()
        try expect(world, .rolledBack, early: 1, late: 0, "early-way-back-fails")
    }

    /// The other two ways out that the same stop names.
    @Test func aWayBackThatFailsMayStayHalfwayOrTheRunGoForwardAgain() throws {
        let tools: [ToolBehaviour] = [.done, .failsUnchanged, .failsPartly]
        var staying = world(Self.plan(Self.moments + Self.reverting), tools)
        #expect(staying.theRun.next?.contains("runs migrate-back once more") == true)
        staying.demand(.acceptSchema)
        staying.settle()
        try expect(staying, .rolledBack, early: 1, late: 0)
        #expect(staying.database.tool.early.level == 1)
        var goingForward = world(Self.plan(Self.moments + Self.reverting), tools)
        goingForward.demand(.goForward)
        goingForward.settle()
        try expect(goingForward, .done, early: 2, late: 1)
    }

    @Test func whatFailsAfterTheLiftWaitsForAPersonWithTheNewReleaseServed() throws {
        let plan = Self.plan(Self.moments + Self.reverting + ", on_partly: back")
        var world = world(plan, [.done, .done, .failsPartly])
        try expect(world, .waiting, early: 1, late: 1)
        #expect(world.nodes.values.allSatisfy { $0.isGateOpen })
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.new })
        #expect(world.theRun.next?.contains("the new release is served, and stays so") == true)
        world.request(.retry)
        world.settle()
        try expect(world, .done, early: 1, late: 2, "late-fails")
    }

    @Test func whatFailsAfterTheLiftMayBeLeftToTheNextRelease() throws {
        var world = world(Self.plan(), [.done, .done, .failsUnchanged])
        try expect(world, .waiting, early: 1, late: 1)
        world.demand(.acceptSchema)
        world.settle()
        try expect(world, .done, early: 1, late: 1, "late-left")
        #expect(world.done(by: "stop-app").count == 3)
    }

    @Test(arguments: ["early", "late"]) func aToolThatDoesNotEndIsLookedAtWhenItsTimeIsOver(
        moment: String
    ) throws {
        let text = Self.plan(Self.moments + Self.reverting + ", timeout: 30s, on_partly: again")
        let world = world(text, moment == "early" ? [.hangs] : [.done, .done, .hangs])
        try expect(
            world, .done, early: moment == "early" ? 2 : 1, late: moment == "late" ? 2 : 1,
            "\(moment)-hangs")
        #expect(world.text.contains("it did not end within 30s"))
    }

    @Test(arguments: ["early", "late"]) func aNewLeaderGoesOnWhereTheToolIs(moment: String) throws {
        var world = ScenarioWorld()
        world.start(Self.plan(Self.moments + Self.reverting))
        world.settle(untilBegun: moment == "early" ? .toolExpanded : .toolContracted)
        world.restart()
        world.settle()
        try expect(world, .done, early: 1, late: 1, "new-leader-\(moment)")
    }

    @Test func aPersonWhoTurnsBackWhileItRunsHasItEndedFirst() throws {
        var world = ScenarioWorld()
        world.nodes[Self.canary]?.tools = [.hangs]
        world.start(Self.plan(Self.moments + Self.reverting))
        world.settle(untilBegun: .toolExpanded)
        world.settleAtOnce()
        #expect(world.theRun.current?.step == .toolExpanded)
        world.note("a person turns back while the tool runs")
        world.request(.rollback)
        world.settle()
        try expect(world, .rolledBack, early: 1, late: 0, "early-rollback-while-it-runs")
    }

    // MARK: Preview

    private static let preview = ", preview_with: migrate-preview"

    @Test func whatTheToolWouldDoIsReadBeforeTheWindowAndSaidWhereItIsApproved() throws {
        var world = ScenarioWorld()
        world.start(Self.plan(Self.preview, approvals: "[read-only]"))
        world.settle()
        #expect(world.theRun.state == .awaitingApproval)
        let next = try #require(world.theRun.next)
        #expect(next.contains("the migration tool would do: 1 statement"))
        #expect(next.contains("nothing undoes what the migration tool does"))
        let read = world.database.performed.first { $0.kind == .readPreview }
        #expect(read?.preview == "ALTER TABLE book ADD COLUMN slug text;")
        world.request(.approve)
        world.settle()
        try expect(world, .done, early: 0, late: 0, "preview")
        let report = try #require(RunReport(world.journal))
        let entry = try #require(report.database.first { $0.kind == .readPreview })
        #expect(entry.report?.lines.contains("ALTER TABLE book ADD COLUMN slug text;") == true)
        // Kept once.
        #expect(report.tools?.map(\.ended.preview) == ["", nil])
    }

    @Test func aToolThatCannotSayWhatItWouldDoTurnsTheRunBackBeforeTheWindow() throws {
        let world = world(Self.plan(Self.preview), [.failsUnchanged])
        try expect(world, .rolledBack, early: 0, late: 0, "preview-fails")
        #expect(world.theRun.windowOpened == nil)
        #expect(world.theRun.reason?.contains("say what it would do failed on web-1") == true)
    }

    @Test func preflightRefusesAnAgentThatRunsNoToolOutsideTheWindow() throws {
        for more in [Self.preview, Self.moments] {
            var old = ScenarioWorld()
            old.nodes[Self.canary]?.lacksAbilities = true
            old.start(Self.plan(more))
            old.settle()
            try expect(old, .refused, early: 0, late: 0)
            let reason = try #require(old.theRun.reason)
            #expect(reason.contains("run a migration tool outside the write window"))
        }
    }

    // MARK: Report

    @Test func whatRunsOutsideTheWindowIsNoPartOfTheMigrationsTime() throws {
        let world = world(Self.plan(Self.moments + Self.reverting))
        var report = try #require(RunReport(world.journal))
        #expect(report.tools?.map(\.phase) == [.stage, .migrate, .finish])
        for index in 0..<3 { report.tools?[index].ended.duration = .seconds(Int64(index + 1)) }
        #expect(report.migration == .seconds(2))
    }
}
