// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// What a person brings to a run that waits: each advice is checked to be accepted wherever a scenario waits
/// (`ScenarioWorld.checkAdvice`), and followed here.
@Suite struct WaysOutTests {
    /// Turned back from the rollout, with a down file that fails.
    private func stuck(reads: String = "hold") -> ScenarioWorld {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = true
        world.database.failing[.revertMigrate] = 5
        world.database.findings = [
            Diagnostic(
                .error, code: "sql",
                at: .init(file: "0003_split_name.down.sql", line: 1, column: 1), "not null")
        ]
        world.start(ScenarioTests.plan(reads: reads))
        world.settle()
        return world
    }

    @Test func aMendedDownFileLeadsBack() throws {
        var world = stuck()
        #expect(world.theRun.state == .waiting)
        let advice = try #require(world.theRun.next)
        #expect(advice.contains("`sluice retry r1 --down 0003_split_name.down.sql`"))
        #expect(advice.contains("`sluice resolve r1 --undone 0003 --reason TEXT`"))
        #expect(advice.contains("`sluice retry r1 --forward`"))
        #expect(!advice.contains("anew"))
        let mended = MigrationReference(
            name: "0003_split_name.down.sql", digest: ScenarioWorld.old.manifest)
        world.demand(.mend([mended]))
        #expect(world.theRun.migrations.last == mended)
        #expect(world.theRun.migrations.count == 2)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
        try Transcript.compare(world, "ways-out/mended-down-file")
    }

    @Test func aDownFileOfNoMigrationIsRefused() {
        var world = stuck()
        for name in ["0004_other.down.sql", "0003_split_name.up.sql", "x.down.sql"] {
            world.demand(
                .mend([MigrationReference(name: name, digest: ScenarioWorld.old.manifest)]))
        }
        #expect(world.transcript.count { $0.contains("is of no migration of this run") } == 3)
        #expect(world.theRun.state == .waiting)
    }

    @Test func whatWasUndoneByHandIsLookedAtByTheNextAttemptAndByNoOther() throws {
        var world = stuck()
        world.database.failing[.revertMigrate] = 1
        let claim = MigrationClaim(version: "0003", state: .undone)
        world.demand(.claim([claim]))
        world.settle()
        let tasks = world.database.performed.filter { $0.kind == .revertMigrate }
        #expect(tasks.map { $0.claims != nil } == [false, false, false, false, false, true, true])
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.claims == [])
        try Transcript.compare(world, "ways-out/undone-by-hand")
    }

    @Test func aClaimThatIsNotBelievedIsForgottenWhenTheRunWaitsAgain() {
        var world = stuck()
        world.database.failing[.revertMigrate] = 5
        world.demand(.claim([MigrationClaim(version: "0003", state: .undone)]))
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.request(.retry)
        world.settle()
        #expect(world.database.performed.last { $0.kind == .revertMigrate }?.claims == nil)
        #expect(world.theRun.state == .rolledBack)
    }

    @Test func aClaimOfTheOtherDirectionOrOfAnotherMigrationIsRefused() {
        var world = stuck()
        world.demand(.claim([MigrationClaim(version: "0003", state: .done)]))
        world.demand(.claim([MigrationClaim(version: "0009", state: .undone)]))
        #expect(world.transcript.count { $0.contains("refused: ") } == 2)
        #expect(world.theRun.state == .waiting)
    }

    @Test func aContractMigrationThatCannotWorkIsDoneByHand() throws {
        var world = ScenarioWorld()
        world.database.failing[.contract] = 5
        world.database.findings = [
            Diagnostic(
                .error, code: "sql", at: .init(file: "0003_split_name.up.sql", line: 1, column: 1),
                "no such column")
        ]
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.next?.contains("--done 0003") == true)
        world.demand(.claim([MigrationClaim(version: "0003", state: .done)]))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.database.performed.last { $0.kind == .contract }?.claims?.count == 1)
    }

    @Test func aRunThatCannotGoBackGoesForwardOnceTheNodeIsMended() throws {
        var world = stuck()
        world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = false
        world.demand(.goForward)
        #expect(world.theRun.direction == .forward)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
        #expect(world.theRun.because == nil)
        try Transcript.compare(world, "ways-out/forward")
    }

    /// From wherever the way back waits, the run goes forward to its end.
    @Test(arguments: DatabaseTask.Kind.allCases, ["hold", "serve"])
    func aRunGoesForwardFromEveryStepOfItsWayBack(kind: DatabaseTask.Kind, reads: String) {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = true
        world.start(ScenarioTests.plan(reads: reads))
        // On the way back only.
        world.on(.rollout) { $0.database.failing[kind] = 5 }
        world.settle()
        guard world.theRun.state == .waiting else { return }
        world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = false
        world.demand(.goForward)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test(arguments: ["hold", "serve"])
    func aRunThatWentForwardAgainCanStillTurnBackWhole(reads: String) throws {
        var world = stuck(reads: reads)
        world.demand(.goForward)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
        #expect(world.text.contains("active v1 as r1.back2"))
    }

    @Test func aRunThatGoesForwardIsNotToldToGoForward() {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan())
        world.settle(untilBegun: .staged)
        world.demand(.goForward)
        #expect(world.text.contains("refused: the run is not going back"))
    }

    /// The migration stands, and who serves the release that fits it serves; before it is undone, reads are held again.
    @Test func readersAreServedWhereTheReleaseFitsWhileTheWayBackIsStuck() throws {
        var world = stuck()
        let one = NodeName(unchecked: "web-1")
        let three = NodeName(unchecked: "web-3")
        #expect(world.nodes[one]?.active.release == ScenarioWorld.new)
        #expect(world.core.directives[one]?.reads.until == world.theRun.forwardActivation)
        #expect(world.core.directives[three]?.reads.hold != nil)
        world.nodes[three]?.isLost = false
        world.request(.retry)
        #expect(world.core.directives[one]?.reads.until == nil)
        #expect(world.core.directives[one]?.reads.hold != nil)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
    }

    /// Going forward after all, the run begins with what was undone, and its first migration finds the other schema.
    @Test func goingForwardAfterTheComparisonKeepsWhatPreflightFound() {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.failingGoal = .stage
        world.database.schemaChanges = ["table public.note is new"]
        world.start(ScenarioTests.plan())
        world.settle()
        world.nodes[NodeName(unchecked: "web-1")]?.failingGoal = nil
        world.demand(.goForward)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.database.performed.count { $0.kind == .preflight } == 1)
        let expand = world.database.performed.first { $0.kind == .expand }
        #expect(expand?.schema == ScenarioWorld.old.manifest)
    }

    /// A down file that leaves a table, a start script that migrates, also before any migration of the run: the run says so, and does
    /// not say that it was rolled back.
    @Test(arguments: [true, false], [true, false])
    func rolledBackIsNotSaidOfASchemaThatIsAnother(isInStage: Bool, isPutBack: Bool) throws {
        var world = ScenarioWorld()
        if isInStage {
            world.nodes[NodeName(unchecked: "web-1")]?.failingGoal = .stage
        } else {
            world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        }
        world.database.schemaChanges = ["table public.note is new"]
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(
            world.theRun.because == "the schema is not as it was before: table public.note is new")
        if isInStage {
            #expect(world.database.performed.map(\.kind) == [.preflight, .compareSchema])
        }
        #expect(world.database.performed.last?.schema == ScenarioWorld.old.manifest)
        if isPutBack {
            world.database.schemaChanges = []
            world.request(.retry)
        } else {
            world.demand(.acceptSchema)
        }
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        let report = try #require(RunReport(world.journal))
        #expect(report.schemaChanges == (isPutBack ? nil : ["table public.note is new"]))
        if !isInStage, !isPutBack { try Transcript.compare(world, "ways-out/schema-accepted") }
    }

    /// A run that goes back and waits is ended by no command: it is led on.
    @Test func whoFindsTheFleetHeldIsToldNothingThatTheRunRefuses() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.database.failing = [.revertMigrate: 5]
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        var again = world.theRun.created
        again.request = "another"
        let refusal = #expect(throws: Refusal.self) {
            try world.core.step(.start(again), at: world.now)
        }
        #expect(refusal?.code == "fleet-held")
        #expect(refusal?.advice.contains("sluice status r1`") == true)
        #expect(refusal?.advice.contains("abort") == false)
    }
}
