// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// Before the schema changes, every node has said that it stays closed: also one that came after the others were asked.
@Suite struct JoiningNodeTests {
    static let late = NodeName(unchecked: "web-9")

    @Test func aNodeThatJoinsWhileTheOthersAreBracedAndIsLostTurnsTheRunBack() throws {
        var world = ScenarioWorld()
        world.on(.migrate) { world in
            world.join("web-9")
            world.note("web-9 is lost")
            world.nodes[Self.late]?.isLost = true
        }
        world.start(ScenarioTests.plan(budget: 3))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.database.migrations == 0)
        try Transcript.compare(world, "node-joins/in-migrate-and-is-lost")
    }

    @Test func aNodeThatJoinsBeforeAFailedMigrationIsTriedAgainIsWaitedFor() throws {
        var world = ScenarioWorld()
        world.database.failing = [.migrate: 1]
        world.start(ScenarioTests.plan(onFailure: "pause"))
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.join("web-9")
        world.nodes[Self.late]?.isLost = true
        world.request(.retry)
        #expect(world.theRun.databaseCommands == [], "the migration waits for web-9")
        world.nodes[Self.late]?.isLost = false
        world.tellAgain(Self.late)
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "node-joins/before-the-migration-is-retried")
    }

    @Test(arguments: ["before: migrate", "after: drain"])
    func aNodeThatJoinsInAHookBeforeTheMigrationIsWaitedFor(timing: String) {
        var world = ScenarioWorld()
        world.on(.drain) { $0.join("web-9") }
        world.start(ScenarioTests.plan() + "\nhooks:\n  - {\(timing), run: announce}\n")
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }
}
