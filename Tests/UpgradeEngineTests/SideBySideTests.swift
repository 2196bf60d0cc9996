// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// What several databases are asked at once: their fences go up, are proved and come down side by side, so that the write window does not
/// grow with each of them.
@Suite struct SideBySideTests {
    private static let visits = DatabaseName(unchecked: "visits")

    private func world(
        onFailure: String = "rollback", more: String = "", _ change: (inout ScenarioWorld) -> Void
    ) -> ScenarioWorld {
        var world = ScenarioWorld(others: ["visits"])
        world.database.place = "7/1"
        world.others[Self.visits]?.place = "7/2"
        change(&world)
        world.start(
            ScenarioTests.plan(onFailure: onFailure, databases: ["visits"]) + "\n" + more)
        return world
    }

    private func inFlight(_ world: ScenarioWorld) -> [DatabaseName?] {
        world.theRun.databaseCommands.compactMap { command in
            if case .perform(let task) = command { task.database } else { nil }
        }
    }

    @Test(arguments: [DatabaseTask.Kind.raiseFence, .census, .lowerFence])
    func allDatabasesAreAskedForItAtOnce(kind: DatabaseTask.Kind) {
        var world = world { world in
            world.database.hanging = [kind]
            world.others[Self.visits]?.hanging = [kind]
        }
        world.settle(untilBegun: Step(Step.database(kind).word, 0))
        world.settleAtOnce()
        #expect(inFlight(world) == [.default, Self.visits])
        #expect(world.theRun.databaseAtWork == .default)
        #expect(world.theRun.begun.contains(Step(Step.database(kind).word, 1)))
        #expect(world.theRun.databaseTitle?.contains("; visits: ") == true)
    }

    /// One that migrates does so alone, unless the plan says otherwise.
    @Test(arguments: [1, 2]) func asManyMigrateAtOnceAsThePlanSays(count: Int) {
        var world = world(more: "migrations_at_once: \(count)") { world in
            world.database.hanging = [.migrate]
            world.others[Self.visits]?.hanging = [.migrate]
        }
        world.settle(untilBegun: Step(MigrateStep.word, 0))
        world.settleAtOnce()
        let both: [DatabaseName?] = [.default, Self.visits]
        #expect(inFlight(world) == Array(both.prefix(count)))
    }

    @Test func whenOneOfTwoThatMigrateAtOnceFailsBothAreUndoneBeforeAnyFenceIsLowered() throws {
        var world = world(more: "migrations_at_once: 2") { world in
            world.database.hanging = [.migrate]
            world.others[Self.visits]?.failing = [.migrate: 1]
        }
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        for database in [world.database, try #require(world.others[Self.visits])] {
            let back = database.performed.map(\.kind).filter {
                $0 == .revertMigrate || $0 == .lowerFence
            }
            #expect(back == [.revertMigrate, .lowerFence])
        }
        #expect(world.violations == [])
    }

    /// As `DisturbedRunTests`, with three databases that migrate at once and fail by turns.
    @Test(arguments: 0..<4) func aDisturbedRunOfDatabasesThatMigrateAtOnceViolatesNothing(
        group: UInt64
    ) {
        DisturbedRunTests.expectAnEnd(
            of: group, others: ["visits", "mail"],
            plan: { seed in
                ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: seed % 3 == 0 ? "serve" : "hold", databases: ["visits", "mail"])
                    + "\nmigrations_at_once: \(2 + seed % 2)"
            })
    }

    @Test func aFenceThatFailsAheadOfItsTurnTurnsTheRunBackAtOnceAndTheOtherIsLowered() throws {
        var world = world { world in
            world.database.hanging = [.raiseFence]
            world.others[Self.visits]?.failing = [.raiseFence: 1]
        }
        world.settle(untilBegun: Step(RaiseFenceStep.word, 0))
        world.settleAtOnce()
        #expect(world.theRun.direction == .back)
        #expect(world.theRun.reason?.hasPrefix("raise the fence (visits) failed: ") == true)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        for database in [world.database, try #require(world.others[Self.visits])] {
            #expect(database.performed.contains { $0.kind == .lowerFence })
        }
        #expect(world.violations == [])
    }

    /// A run that waits, waits for the database that has failed: it is tried once more when its turn has come.
    @Test func whereAPersonIsAskedTheRunWaitsForTheDatabaseThatHasFailed() {
        var world = world(onFailure: "pause") { world in
            world.database.hanging = [.census]
            world.others[Self.visits]?.failing = [.census: 2]
        }
        world.settle(untilBegun: Step(CensusStep.word, 0))
        world.settleAtOnce()
        #expect(world.theRun.state == .running)
        world.database.hanging = []
        world.restart()
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.databaseAtWork == Self.visits)
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    /// What has been done ahead of its turn is not done again.
    @Test func aNewLeaderAsksForWhatIsNotDoneYet() {
        var world = world { $0.database.hanging = [.raiseFence] }
        world.settle(untilBegun: Step(RaiseFenceStep.word, 0))
        world.settleAtOnce()
        #expect(inFlight(world) == [.default])
        world.database.hanging = []
        world.restart()
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.others[Self.visits]?.performed.count { $0.kind == .raiseFence } == 1)
        #expect(world.violations == [])
    }

    @Test func whereNoFenceCouldBeLoweredAPersonMayStillTurnBack() {
        var world = world { world in
            world.database.failing = [.lowerFence: 5]
            world.others[Self.visits]?.failing = [.lowerFence: 1]
        }
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(!world.theRun.isPastPointOfNoReturn)
        world.request(.rollback)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
    }

    @Test func whereOneFenceWasLoweredNobodyTurnsBack() {
        var world = world { $0.database.failing = [.lowerFence: 5] }
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.isPastPointOfNoReturn)
        let advice = world.theRun.next ?? ""
        #expect(advice.contains("sluice retry") && !advice.contains("sluice rollback"))
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }
}
