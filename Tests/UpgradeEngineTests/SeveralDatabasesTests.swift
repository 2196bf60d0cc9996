// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel
import UpgradePlan

@testable import UpgradeEngine

/// A plan with several databases: all fences and all censuses before the first of them migrates, one point of no return, and a way
/// back that undoes what has been committed in reverse order.
@Suite struct SeveralDatabasesTests {
    private static let visits = DatabaseName(unchecked: "visits")

    private func world(
        nodes: Int = 3, _ change: (inout ScenarioWorld) -> Void = { _ in }
    ) -> ScenarioWorld {
        var world = ScenarioWorld(nodes: nodes, others: ["visits"])
        world.database.place = "7/1"
        world.others[Self.visits]?.place = "7/2"
        change(&world)
        return world
    }

    private func plan(reads: String = "hold", tool: String? = nil) -> String {
        ScenarioTests.plan(reads: reads, tool: tool, databases: ["visits"])
    }

    private func performed(_ world: ScenarioWorld) -> [String] {
        world.journal.compactMap { recorded in
            guard case .databaseTaskStarted(let fact) = recorded.event else { return nil }
            return "\(fact.kind.rawValue) \(fact.database?.rawValue ?? "?")"
        }
    }

    @Test func everyFenceIsUpAndEveryCensusTakenBeforeTheFirstMigrates() throws {
        var world = world()
        world.start(plan())
        world.settle()
        #expect(world.theRun.state == .done)
        let kinds = [
            "preflight", "expand", "raiseFence", "census", "migrate", "lowerFence", "contract",
        ]
        #expect(performed(world) == kinds.flatMap { ["\($0) default", "\($0) visits"] })
        try Transcript.compare(world, "databases/straight-run")
    }

    /// Where no fence has found anybody: the censuses wait for nobody, so the readers are held with them.
    @Test(arguments: [0, 1, nil]) func theNodesAreBracedWithTheCensuses(older: Int?) {
        var world = world {
            $0.database.older = 0
            $0.others[Self.visits]?.older = older
        }
        world.start(plan())
        world.settle(untilBegun: Step(CensusStep.word, 0))
        let areBraced = world.core.directives.values.allSatisfy { $0.reads.hold != nil }
        #expect(areBraced == (older == 0))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    /// Old processes are silenced, and sessions held, for databases that are all named.
    @Test func aPlanWithoutADefaultDatabaseHasEveryStepOfOneThatHasIt() throws {
        func steps(_ databases: String) throws -> [String] {
            let text = plan().replacing(
                #/database: .*\ndatabases: .*/#, with: "databases: {\(databases)}")
            let plan = try #require(PlanDocument.stored(text: text, file: "p"))
            return Itinerary.forward(plan, batches: 2).map(\.step.description)
        }
        let one = try steps("visits: {url: env:URL, migrations: m}")
        let single = try #require(PlanDocument.stored(text: ScenarioTests.plan(), file: "p"))
        #expect(one == Itinerary.forward(single, batches: 2).map(\.step.description))
        let two = try steps(
            "visits: {url: env:URL, migrations: m}, mail: {url: env:MAIL, migrations: m}")
        #expect(two.contains("nodes:silenced"))
    }

    @Test func eachFenceIsLoweredWithTheProofOfItsOwnCensus() throws {
        var world = world()
        world.start(plan())
        world.settle()
        let others = try #require(world.others[Self.visits])
        for (database, place) in [(world.database, "7/1"), (others, "7/2")] {
            let lift = database.performed.first { $0.kind == .lowerFence }
            #expect(lift?.proof?.fenceLSN == place)
            #expect(lift?.attempt == 1)
        }
    }

    @Test(arguments: ["hold", "serve"])
    func whenTheSecondMigrationFailsTheFirstIsUndoneBeforeAnyFenceIsLowered(
        reads: String
    ) throws {
        var world = world { $0.others[Self.visits]?.failing = [.migrate: 1] }
        world.start(plan(reads: reads))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(
            try #require(world.theRun.reason).hasPrefix("migrate the schema (visits) failed: "))
        #expect(
            performed(world).suffix(6) == [
                "revertMigrate visits", "revertMigrate default", "lowerFence visits",
                "lowerFence default", "revertExpand visits", "revertExpand default",
            ])
        try Transcript.compare(world, "databases/second-migration-fails-\(reads)")
    }

    @Test func aFenceThatCannotBeRaisedLowersTheOthers() throws {
        var world = world { $0.others[Self.visits]?.failing = [.raiseFence: 1] }
        world.start(plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!performed(world).contains { $0.hasPrefix("census") })
        try Transcript.compare(world, "databases/second-fence-fails")
    }

    @Test func aLeaderKilledBetweenTwoMigrationsIsFollowedByOneThatGoesOn() throws {
        var world = world()
        world.start(plan())
        world.settle(untilBegun: Step(MigrateStep.word, 1))
        #expect(world.database.isMigrated)
        world.restart()
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "databases/new-leader-between-migrations")
    }

    @Test(arguments: [DatabaseTask.Kind.preflight, .expand, .census, .lowerFence, .contract])
    func aTaskOfTheSecondThatFailsOnceBringsEverythingBackOrIsTriedAgain(
        kind: DatabaseTask.Kind
    ) {
        var world = world { $0.others[Self.visits]?.failing = [kind: 1] }
        world.start(plan())
        world.settle()
        let expected: RunState =
            switch kind {
            case .preflight: .refused
            case .lowerFence, .contract: .done
            default: .rolledBack
            }
        #expect(world.theRun.state == expected)
        #expect(world.violations == [])
    }

    /// The lift of one is the point of no return of all.
    @Test func onceTheFirstFenceIsLoweredNothingIsUndone() throws {
        var world = world { $0.others[Self.visits]?.failing = [.lowerFence: 6] }
        world.start(plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.isPastPointOfNoReturn)
        let advice = try #require(world.theRun.next)
        #expect(advice.contains("sluice retry") && !advice.contains("sluice rollback"))
        world.request(.rollback)
        #expect(world.theRun.direction == .forward)
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    /// Neither release fits schemas of which one is back and the other is not: readers wait.
    @Test func aWayBackThatIsStuckHalfwayServesNobodyTheNewRelease() throws {
        var world = world { world in
            world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = true
            world.database.failing[.revertMigrate] = 5
        }
        world.start(plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.database.migrated == [.default])
        for name in world.theRun.participants {
            let reads = try #require(world.core.directives[name]).reads
            #expect(reads.hold != nil && reads.until == nil)
        }
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
    }

    @Test func aMendedDownFileCountsForTheDatabaseThatTheRunWaitsFor() throws {
        var world = world { world in
            world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = true
            world.others[Self.visits]?.failing[.revertMigrate] = 5
        }
        world.start(plan())
        world.settle()
        #expect(world.theRun.databaseAtWork == Self.visits)
        let name = "0003_split_name.down.sql"
        world.demand(.mend([MigrationReference(name: name, digest: ScenarioWorld.old.manifest)]))
        let digests = [DatabaseName.default, Self.visits].map { label in
            world.theRun.migrations(of: label).first { $0.name == name }?.digest
        }
        #expect(digests == [ScenarioWorld.new.manifest, ScenarioWorld.old.manifest])
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
    }

    @Test func twoURLsOfOneDatabaseAreRefusedInPreflight() throws {
        var world = world { $0.others[Self.visits]?.place = "7/1" }
        world.start(plan())
        world.settle()
        #expect(world.theRun.state == .refused)
        #expect(
            world.theRun.reason == "the URLs of default and visits lead to the same database")
    }

    @Test func theSchemaOfOneMayStayAsItIsAndThatOfTheOtherIsStillCompared() throws {
        var world = world { world in
            world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = true
            world.database.schemaChanges = ["table public.note is new"]
            world.others[Self.visits]?.schemaChanges = ["table public.visit is new"]
        }
        world.start(plan())
        world.settle()
        #expect(try #require(world.theRun.because).contains("public.visit"))
        world.demand(.acceptSchema)
        world.settle()
        #expect(try #require(world.theRun.because).contains("public.note"))
        world.demand(.acceptSchema)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        let report = try #require(RunReport(world.journal))
        #expect(
            report.schemaChanges == [
                "default: table public.note is new", "visits: table public.visit is new",
            ])
    }

    @Test func theFilesOfEveryDatabaseComeBeforeTheToolWhichHasNoWayBack() throws {
        var world = world()
        world.start(plan(tool: "run: migrate, ledger: django"))
        world.settle()
        #expect(world.theRun.state == .done)
        let window = performed(world).filter { $0.hasPrefix("migrate") || $0.contains("Pass") }
        #expect(
            window == [
                "migrate default", "migrate visits", "openPass default", "closePass default",
            ])
    }

    @Test func whatIsUndoneIsSaidBefore() throws {
        let plan = try #require(PlanDocument.stored(text: plan(), file: "p"))
        let steps = Itinerary.forward(plan, batches: 2)
        let second = try #require(steps.first { $0.step == Step(MigrateStep.word, 1) })
        let preview = StepPreview(plan: plan, batches: [], migrations: [])
        #expect(second.title(in: plan) == "migrate the schema (visits)")
        #expect(
            second.details(preview).last
                == "when it fails, what default has committed is undone by its down files before any fence is lowered"
        )
        let lift = try #require(steps.first { $0.step == Step(LowerFenceStep.word, 0) })
        #expect(lift.details(preview) == ["the point of no return of all 2 databases"])
    }

    /// As `DisturbedRunTests`, with two databases that fail by turns.
    @Test(arguments: 0..<8) func aDisturbedRunOfTwoDatabasesViolatesNothing(group: UInt64) {
        DisturbedRunTests.expectAnEnd(
            of: group, others: ["visits"],
            plan: { seed in
                ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: seed % 3 == 0 ? "serve" : "hold",
                    start: seed % 4 == 0 ? "after-migration" : "warm", databases: ["visits"])
            })
    }
}
