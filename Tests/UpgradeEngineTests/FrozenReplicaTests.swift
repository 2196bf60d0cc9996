// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// Reads go on on a standby that is frozen behind the fence, and the standby is the way back once the schema is another one.
@Suite struct FrozenReplicaTests {
    static let node = NodeName(unchecked: "web-2")
    static let reader = ScenarioWorld.old.on(.standby)

    private func world(_ plan: String, isReal: Bool = false) -> ScenarioWorld {
        var world = ScenarioWorld(isReal: isReal)
        world.database.standby = FakeStandby()
        world.start(plan)
        return world
    }

    private func plan(
        onFailure: String = "rollback", budget: Int = 0, start: String = "warm", tool: String? = nil
    ) -> String {
        ScenarioTests.plan(
            onFailure: onFailure, budget: budget, reads: "standby", start: start, tool: tool)
    }

    private func kinds(_ world: ScenarioWorld) -> [DatabaseTask.Kind] {
        world.database.performed.map(\.kind)
    }

    @Test(arguments: ["warm", "after-migration"])
    func readsGoOnOnTheStandbyUntilTheNewReleaseAnswers(start: String) throws {
        var world = world(plan(start: start))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.database.standby?.isFrozen == false)
        #expect(world.nodes.values.allSatisfy { !$0.staged.contains(Self.reader) })
        let freeze = try #require(world.database.performed.first { $0.kind == .freezeStandby })
        #expect(freeze.proof?.fenceLSN == "0/7", "it waits for what the census has proved")
        #expect(freeze.budget == .seconds(30))
        try Transcript.compare(world, "standby/straight-run-\(start)")
    }

    @Test func aFreezeThatFailsTurnsTheRunBackToThePrimary() throws {
        var world = world(plan())
        world.database.failing = [.freezeStandby: 1]
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!kinds(world).contains(.promoteStandby))
        #expect(kinds(world).contains(.feedStandby), "nobody knows how far the freeze came")
        #expect(kinds(world).last { [.census, .lowerFence].contains($0) } == .lowerFence)
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        try Transcript.compare(world, "standby/freeze-fails")
    }

    @Test func aNodeThatDoesNotReadFromTheStandbyTurnsTheRunBack() throws {
        var world = world(plan(budget: 1))
        world.settle(untilBegun: .database(.census))
        world.note("web-2 is lost")
        world.nodes[Self.node]?.isLost = true
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!kinds(world).contains(.migrate))
        #expect(!kinds(world).contains(.promoteStandby))
        try Transcript.compare(world, "standby/node-lost-before-it-reads-there")
    }

    /// A request that does not end on the primary would meet the new schema.
    @Test func aRequestThatStaysOnThePrimaryTurnsTheRunBack() {
        var world = world(plan())
        world.nodes[Self.node]?.stuckReads = 1
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.reason?.contains("read from the standby failed on web-2") == true)
        #expect(!kinds(world).contains(.migrate))
        #expect(world.violations == [])
    }

    @Test func aMigrationThatTookNoEffectCostsNoPromotion() throws {
        var world = world(plan())
        world.database.failing = [.migrate: 1]
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!kinds(world).contains(.promoteStandby))
        try Transcript.compare(world, "standby/migration-fails")
    }

    @Test func aMigrationWhoseEndIsNotKnownIsLeftBehindOnThePrimary() {
        var world = world(plan())
        world.database.failing = [.migrate: 1]
        world.database.effect = .unknown
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(kinds(world).contains(.promoteStandby))
        #expect(!kinds(world).contains(.revertMigrate))
        #expect(world.violations == [])
    }

    @Test(arguments: ["warm", "after-migration"])
    func anUnhealthyCanaryMakesTheStandbyThePrimary(start: String) throws {
        var world = world(plan(start: start))
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!kinds(world).contains(.revertMigrate), "no down-migration has to work")
        #expect(!kinds(world).contains(.lowerFence), "the first primary stays shut")
        #expect(world.nodes.values.allSatisfy { $0.active.release == Self.reader })
        let after = world.database.performed.drop { $0.kind != .promoteStandby }.dropFirst()
        #expect(after.allSatisfy { $0.isPromoted == true })
        let next = try #require(world.theRun.next)
        #expect(
            next.contains("the primary is now the server that was the standby (env:STANDBY_URL)"))
        #expect(next.contains("pg_rewind makes the first server a standby"))
        let report = try #require(RunReport(world.journal))
        #expect(report.advice == next)
        try Transcript.compare(world, "standby/canary-unhealthy-\(start)")
    }

    /// Nobody waits for an action on the way back: the reader runs. A node that was not there starts it.
    @Test func whoeverHasReadFromTheStandbyOnlyFlipsToIt() throws {
        var world = world(plan())
        world.on(.rollout) { $0.join("web-9") }
        world.nodes[Self.node]?.isUnhealthy = true
        world.settle(untilBegun: .upgraded(batch: 1))
        world.nodes[NodeName(unchecked: "web-9")]?.isUnhealthy = true
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
        let told = world.text.split(separator: "\n").filter { $0.contains("as r1.back") }
        #expect(told.contains { $0.contains("web-2:") })
        #expect(!told.contains { $0.contains("web-2:") && $0.contains("start-app") })
        #expect(told.contains { $0.contains("web-9:") && $0.contains("start-app on the standby") })
    }

    @Test func aPromotionThatFailsAsksAPersonAndIsTriedAgain() throws {
        var world = world(plan())
        world.nodes[Self.node]?.isUnhealthy = true
        world.database.failing = [.promoteStandby: 5]
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.core.directives.values.allSatisfy { !$0.writes.isOpen })
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(world, "standby/promotion-fails")
    }

    /// It may be the primary: going forward would make a second one.
    @Test func aPromotionWhoseEndIsNotKnownIsNoWayForward() {
        var world = world(plan(budget: 1))
        world.nodes[Self.node]?.failingTask = "reload"
        world.nodes[NodeName(unchecked: "web-1")]?.failingTask = "reload"
        world.database.failing = [.promoteStandby: 5]
        world.database.effect = .unknown
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.next?.contains("--forward") == false)
        world.demand(.goForward)
        #expect(world.text.contains("refused: the standby is the primary now, or may be"))
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
    }

    /// Promoted behind its fence, it takes no writes, and is a primary all the same.
    @Test func aStandbyThatIsPromotedBehindItsFenceIsNoWayForward() {
        var world = world(plan())
        world.nodes[Self.node]?.failingTask = "reload"
        world.database.failing = [.promoteStandby: 5]
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.database.promotion == .fenced)
        #expect(world.theRun.next?.contains("--forward") == false)
        world.demand(.goForward)
        #expect(world.text.contains("refused: the standby is the primary now, or may be"))
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
    }

    /// Nodes go over to it meanwhile: writers wait for both, and neither for the other.
    @Test func theStandbyIsPromotedWhileNodesGoOverToIt() {
        var world = world(plan())
        world.nodes[Self.node]?.isUnhealthy = true
        world.database.hanging = [.promoteBehindFence]
        world.settle()
        #expect(world.nodes.values.allSatisfy { $0.active.release == Self.reader })
        #expect(!world.theRun.begunBack.contains(.reactivated))
    }

    /// A standby that cannot be promoted leaves the way forward.
    @Test func aPromotionThatCertainlyTookNoEffectMayGoForwardAgain() {
        var world = world(plan())
        world.nodes[Self.node]?.failingTask = "reload"
        world.database.failing = [.promoteBehindFence: 5]
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.next?.contains("`sluice retry r1 --forward`") == true)
        world.nodes[Self.node]?.failingTask = nil
        world.demand(.goForward)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test(arguments: Phase.allCases, [RequestVerb.abort, .rollback])
    func aRunThatIsToTurnBackPromotesOnlyWhereTheSchemaIsAnother(phase: Phase, verb: RequestVerb) {
        var world = world(plan())
        world.on(phase) { $0.request(verb) }
        world.settle()
        let expected: RunState =
            switch phase {
            case .preflight: .refused
            case .lift, .finish: .done
            default: .rolledBack
            }
        #expect(world.theRun.state == expected)
        #expect(
            kinds(world).contains(.promoteStandby)
                == [.migrate, .rollout, .verify].contains(phase),
            "\(phase)")
        #expect(world.violations == [])
    }

    /// Nodes that have not flipped to the new release yet have its flip prepared, under a generation of its own.
    @Test(arguments: [Phase.migrate, .rollout, .verify])
    func everyNodeGoesBackToTheReaderWhicheverItServes(phase: Phase) {
        var world = world(plan(), isReal: true)
        world.on(phase) { $0.request(.rollback) }
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.database.promotion == .done)
        #expect(world.theRun.quarantined.isEmpty)
        #expect(world.nodes.values.allSatisfy { $0.active.release == Self.reader })
        #expect(world.violations == [])
    }

    /// Nothing undoes what this tool does, and nothing has to.
    @Test(arguments: [ToolBehaviour.failsPartly, .interrupted, .failsUnchanged])
    func whateverAToolHasDoneTheRunTurnsBack(behaviour: ToolBehaviour) {
        var world = world(
            plan(tool: "run: migrate, ledger: django, on_partly: person"))
        world.nodes[NodeName(unchecked: "web-1")]?.tools = [behaviour]
        world.settle()
        if world.theRun.state == .waiting {
            #expect(world.theRun.next?.contains("makes the standby the primary") == true)
            world.request(.rollback)
            world.settle()
        }
        #expect(world.theRun.state == .rolledBack)
        #expect(kinds(world).contains(.promoteStandby))
        #expect(world.violations == [])
    }

    @Test(arguments: Phase.allCases) func aNewLeaderInAnyPhaseBringsTheRunToItsEnd(phase: Phase) {
        var world = world(plan())
        world.on(phase) { $0.restart() }
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test(arguments: Phase.allCases) func aNewLeaderOnTheWayBackBringsItToItsEnd(phase: Phase) {
        var world = world(plan())
        world.nodes[Self.node]?.isUnhealthy = true
        world.on(phase, .back) { $0.restart() }
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.database.promotion == .done)
        #expect(world.violations == [])
    }

    @Test(arguments: [
        Step.reader, .freezeStandby, .standbyServed, .readerDrained, .readerEnded, .feedStandby,
    ]) func aLeaderThatDiesAtAnyStepOfTheStandbyBringsTheRunToItsEnd(step: Step) {
        var world = world(plan(), isReal: true)
        world.settle(untilBegun: step)
        world.restart()
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test(arguments: Phase.allCases) func aNodeLostInAnyPhaseViolatesNothing(phase: Phase) {
        var world = world(plan())
        world.on(phase) { $0.nodes[Self.node]?.isLost = true }
        world.settle()
        #expect(world.theRun.isEnded)
        #expect(world.violations == [])
        // What it was told last brings it to where the others are.
        world.nodes[Self.node]?.isLost = false
        world.tellAgain(Self.node)
        world.settle()
        #expect(world.theRun.quarantined.isEmpty)
    }

    /// In finish, writes are open on the new schema, and a node that appears with the old release is told so late as it speaks first.
    @Test(arguments: Phase.allCases.filter { $0 < .finish })
    func aNodeThatJoinsInAnyPhaseIsUpgradedAsAnExtraBatch(phase: Phase) {
        var world = world(plan())
        world.on(phase) { $0.join("web-9") }
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.nodes[NodeName(unchecked: "web-9")]?.active.release == ScenarioWorld.new)
        #expect(world.violations == [])
    }

    // MARK: Preflight

    @Test func anAgentThatCannotServeFromAStandbyIsFoundInPreflight() {
        var world = world(plan(budget: 3))
        world.nodes[Self.node]?.lacksAbilities = true
        world.settle()
        #expect(world.theRun.state == .refused, "no budget makes up for it")
    }

    @Test func aNodeThatServesFromTheFormerStandbyIsSentToItsUsualDatabaseFirst() {
        var world = world(plan())
        world.nodes[Self.node]?.active.release = Self.reader
        world.settle()
        #expect(world.theRun.state == .refused)
        #expect(world.theRun.reason?.contains("bring it to its usual database first") == true)
    }

    /// After a promotion what is served is what the next run replaces.
    @Test func theNextRunSilencesWhatThePromotionHasLeft() {
        var world = ScenarioWorld()
        for name in world.nodes.keys { world.nodes[name] = FakeNode(name, serves: Self.reader) }
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.core.directives.values.allSatisfy { $0.silenced == Self.reader })
    }

    // MARK: A cluster manager

    private func managed(onFailure: String = "rollback", budget: Int = 0) -> String {
        plan(onFailure: onFailure, budget: budget).replacing(
            "standby: {url: env:STANDBY_URL}",
            with: "standby: {url: env:STANDBY_URL, manager: {patroni: env:PATRONI_URL}}")
    }

    /// It is told before anybody waits, and goes on once both servers are as they will stay.
    @Test func aClusterManagerIsPausedFromBeforeTheWindowToTheEnd() {
        var world = world(managed())
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(!world.database.isManagerPaused)
        let order = kinds(world).filter {
            [.pauseManager, .raiseFence, .freezeStandby, .feedStandby, .resumeManager].contains($0)
        }
        #expect(
            order == [.pauseManager, .raiseFence, .freezeStandby, .feedStandby, .resumeManager])
        #expect(world.violations == [])
    }

    @Test(arguments: Phase.allCases)
    func aClusterManagerIsNeverLeftPaused(phase: Phase) {
        var world = world(managed())
        world.on(phase) { $0.request(.rollback) }
        world.settle()
        #expect(!world.database.isManagerPaused, "\(phase)")
        let isPromoted = kinds(world).contains(.promoteStandby)
        let resumed = world.database.performed.last { $0.kind == .resumeManager }
        #expect(resumed?.isPromoted == (isPromoted ? true : nil), "it is told of the primary")
        #expect(world.violations == [])
    }

    @Test func aClusterManagerThatDoesNotPauseTurnsTheRunBack() {
        var world = world(managed())
        world.database.failing = [.pauseManager: 1]
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!kinds(world).contains(.raiseFence))
        #expect(kinds(world).contains(.resumeManager), "nobody knows who has heard of it")
    }

    /// Resumed with the wrong leader it would undo the promotion: a person is asked, and writes go on.
    @Test func aClusterManagerThatCannotBeToldAsksAPersonWhileWritesGoOn() {
        var world = world(managed())
        world.nodes[Self.node]?.isUnhealthy = true
        world.database.failing = [.resumeManager: 5]
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.core.directives.values.allSatisfy { $0.writes.isOpen })
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!world.database.isManagerPaused)
    }

    // MARK: What is said before

    @Test func thePlanSaysThatTheStandbyIsTheWayBack() throws {
        let run = world(plan()).theRun
        let forward = Itinerary.forward(run.plan, batches: 3)
        let begun = Set(forward.prefix { $0.phase != .lift }.map(\.step))
        let back = Itinerary.back(run.plan, from: forward, begun: begun).map(\.step)
        #expect(
            back == [
                .promoteBehindFence, .reactivated, .promoteStandby, .opened,
                .database(.revertExpand), .oldEnded, .unstaged,
            ])
        let before = Set(forward.prefix { $0.phase != .migrate }.map(\.step))
        #expect(
            Itinerary.back(run.plan, from: forward, begun: before).map(\.step) == [
                .reactivated, .database(.lowerFence), .opened, .database(.revertExpand),
                .readerDrained, .readerEnded, .feedStandby, .unstaged,
            ])
    }

    @Test func thePlanSaysWhenTheStandbyIsNotTheWayBack() {
        let plan = world(plan()).theRun.plan
        let preview = StepPreview(plan: plan, batches: [], migrations: [])
        let promotion = PromoteBehindFenceStep(.migrate, index: nil).details(preview).joined()
        #expect(promotion.contains("otherwise the old release is served on the primary again"))
        let reactivation = ReactivateStep(.migrate, index: nil)
        #expect(reactivation.details(preview).joined().contains("otherwise on the primary"))
    }

    /// The disturbed runs are none that all end in one way.
    @Test func disturbedRunsAreDoneRolledBackAndPromoted() {
        var ends: [String: Int] = [:]
        for seed in UInt64(0)..<60 {
            var world = world(plan(), isReal: true)
            world.disturbance = Disturbance(seed: seed)
            world.settle()
            let isPromoted = world.theRun.database.promotion == .done
            ends[isPromoted ? "promoted" : world.theRun.state.rawValue, default: 0] += 1
        }
        #expect(ends["promoted", default: 0] > 0, "\(ends)")
        #expect(ends["done", default: 0] > 0, "\(ends)")
        #expect(ends["rolled-back", default: 0] > 0, "\(ends)")
    }

    @Test func aPlanThatReadsFromThePrimaryHasNoStepMore() throws {
        let run = {
            var world = ScenarioWorld()
            world.start(ScenarioTests.plan())
            return world.theRun
        }()
        let words = Set(Itinerary.forward(run.plan, batches: 3).map(\.step.word))
        #expect(words.allSatisfy { !$0.contains("tandby") && !$0.contains("reader") })
    }
}
