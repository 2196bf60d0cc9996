// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// What a hook has paused goes on: at the lift where the plan says so, and on every way back.
@Suite struct HookUndoTests {
    static func plan(_ when: String, until: Bool = false, onFailure: String = "rollback") -> String
    {
        let until = until ? ", until: lift" : ""
        return ScenarioTests.plan(onFailure: onFailure)
            + "\nhooks:\n  - {\(when), run: pause-jobs, undo: resume-jobs\(until)}\n"
    }

    @Test func aHookUntilTheLiftIsUndoneOnceTheGatesAreOpen() throws {
        var world = ScenarioWorld()
        world.start(Self.plan("before: read-only", until: true))
        world.settle(untilBegun: .verified)
        #expect(
            world.theRun.stillPaused == [
                "pause-jobs on web-1, web-2, web-3, until resume-jobs undoes it"
            ])
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.stillPaused == [])
        #expect(world.done(by: "resume-jobs") == ["web-1", "web-2", "web-3"])
        try Transcript.compare(world, "hook-undo/until-lift")
    }

    /// Workers go on once the gates are open; the application's own mode ends before, for it refuses what the gates let through.
    @Test func workersAndTheApplicationsModeArePausedAndGoOn() throws {
        var world = ScenarioWorld()
        world.start(
            ScenarioTests.plan() + """

                workers: {pause: pause-jobs, resume: resume-jobs}
                application: {mode: {read_only: say-closed, normal: say-open, where: one-node}}

                """)
        world.settle(untilBegun: .database(.migrate))
        #expect(
            world.theRun.stillPaused == [
                "pause-jobs on web-1, web-2, web-3, until resume-jobs undoes it",
                "say-closed on web-1, until say-open undoes it",
            ])
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.stillPaused == [])
        #expect(world.done(by: "say-open") == ["web-1"])
        try Transcript.compare(world, "hook-undo/workers-and-mode")
    }

    static let untilFence =
        "\napplication: {mode: {read_only: say-closed, normal: say-open, until: fence}}\n"

    /// What reads rely on for as long as the fence stands: it ends after that, and before a gate lets a write through.
    @Test func aModeUntilTheFenceIsDownEndsBetweenTheFenceAndTheGates() {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan() + Self.untilFence)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
        #expect(world.done(by: "say-open") == ["web-1", "web-2", "web-3"])
        let lift = world.text.split(separator: "\n").compactMap { line in
            line.split(separator: "forward lift: ", maxSplits: 1).dropFirst().first.map(String.init)
        }
        #expect(
            lift == [
                "silence the old release", "lower the fence", "undo hook 1", "open the gates",
            ])
    }

    /// It is past the point of no return, and everybody waits: the others go on, and what still refuses writes stays out of service.
    @Test(arguments: [0, 1])
    func aNodeThatDoesNotEndSuchAModeStaysOutOfService(budget: Int) {
        let node = NodeName(unchecked: "web-2")
        var world = ScenarioWorld()
        world.nodes[node]?.failingTask = "say-open"
        world.start(ScenarioTests.plan(budget: budget) + Self.untilFence)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.quarantined == [node])
    }

    @Test(arguments: [Phase.readOnly, .drain, .migrate, .rollout, .verify])
    func workersAndTheApplicationsModeGoOnOnEveryWayBack(phase: Phase) {
        var world = ScenarioWorld()
        world.on(phase) { $0.request(.rollback) }
        world.start(
            ScenarioTests.plan()
                + "\nworkers: {pause: pause-jobs, resume: resume-jobs}\n"
                + "application: {mode: {read_only: say-closed, normal: say-open}}\n")
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
        for (action, undo) in [("pause-jobs", "resume-jobs"), ("say-closed", "say-open")] {
            let paused = world.done(by: action)
            #expect(Set(world.done(by: undo)).isSuperset(of: paused), "\(action)")
        }
        #expect(world.theRun.stillPaused == [])
    }

    @Test func aHookWithoutUntilIsUndoneOnlyOnTheWayBack() {
        var world = ScenarioWorld()
        world.start(Self.plan("before: read-only"))
        world.settle(untilBegun: .verified)
        #expect(world.theRun.stillPaused.count == 1)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.done(by: "resume-jobs") == [])
        // What it did was to last: nothing will undo it.
        #expect(world.theRun.stillPaused == [])
    }

    @Test(arguments: [
        "before: read-only", "after: read-only", "before: migrate", "before: rollout",
        "before: lift",
    ])
    func onEveryWayBackAHookThatHasBegunIsUndone(when: String) throws {
        for phase in [Phase.migrate, .rollout, .verify] {
            var world = ScenarioWorld()
            world.on(phase) { $0.request(.rollback) }
            world.start(Self.plan(when))
            world.settle()
            #expect(world.theRun.state == .rolledBack)
            #expect(world.violations == [])
            let paused = world.done(by: "pause-jobs")
            let resumed = world.done(by: "resume-jobs")
            #expect(Set(resumed).isSuperset(of: paused), "\(when), back from \(phase)")
            #expect(world.theRun.stillPaused == [])
        }
    }

    @Test func aHookBehindTheFenceIsUndoneWhenThatIsDownAndTheGatesAreNotOpenYet() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.start(Self.plan("before: migrate"))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(world, "hook-undo/canary-unhealthy")
    }

    @Test func aHookThatFailedIsUndoneWhereItHadBegun() {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.failingTask = "pause-jobs"
        world.start(Self.plan("before: migrate"))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.done(by: "resume-jobs") == ["web-1", "web-2", "web-3"])
    }

    @Test func aNodeThatIsAwayWhenItIsUndoneIsToldWhenItReturns() throws {
        let node = NodeName(unchecked: "web-2")
        var world = ScenarioWorld()
        world.on(.verify) { world in
            world.nodes[node]?.isLost = true
            world.request(.rollback)
        }
        world.start(Self.plan("before: read-only"))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.quarantined == [node])
        let asked = try #require(world.core.directives[node])
        #expect(asked.tasks.contains { $0.name == "resume-jobs" })
    }

    @Test(arguments: Phase.allCases) func aNewLeaderUndoesWhatTheOldOneBegan(phase: Phase) {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.on(phase, .back) { $0.restart() }
        world.start(Self.plan("before: migrate"))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.done(by: "resume-jobs") == ["web-1", "web-2", "web-3"])
        #expect(world.violations == [])
    }
}
