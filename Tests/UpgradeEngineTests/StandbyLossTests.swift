// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// The frozen standby dies in the window, is let go by other hands, or costs more than it may.
@Suite struct StandbyLossTests {
    static let node = NodeName(unchecked: "web-2")
    static let canary = NodeName(unchecked: "web-1")
    static let reader = ScenarioWorld.old.on(.standby)
    static let tool = "run: migrate, ledger: django, on_partly: person"

    private func world(
        _ rule: String, tool: String? = nil, start: String = "warm", onFailure: String = "rollback",
        approvals: String = "[]", isReal: Bool = false
    ) -> ScenarioWorld {
        var world = ScenarioWorld(isReal: isReal)
        world.database.standby = FakeStandby()
        world.start(
            Self.plan(
                rule, tool: tool, start: start, onFailure: onFailure, approvals: approvals))
        return world
    }

    static func plan(
        _ rule: String, tool: String? = nil, start: String = "warm", onFailure: String = "rollback",
        budget: Int = 0, approvals: String = "[]"
    ) -> String {
        ScenarioTests.plan(
            onFailure: onFailure, budget: budget, approvals: approvals, reads: "standby",
            start: start, tool: tool
        ).replacing("from: standby", with: "from: standby, when_standby_is_lost: \(rule)")
    }

    private func kinds(_ world: ScenarioWorld) -> [DatabaseTask.Kind] {
        world.database.performed.map(\.kind)
    }

    private func reads(_ world: ScenarioWorld, _ node: NodeName = node) -> ReadAdmission? {
        world.core.directives[node]?.reads
    }

    /// Somebody looks after the standby, and has news.
    private func look(_ world: inout ScenarioWorld) {
        let isNews = world.watchStandby()
        #expect(isNews)
    }

    // MARK: Who reads where

    /// Nothing is migrated: turning back costs nothing, and readers are served by the primary.
    @Test(arguments: ["hold", "serve"], ["[]", "[migrate]"])
    func aStandbyThatDiesBeforeTheMigrationTurnsTheRunBack(rule: String, approvals: String) {
        var world = world(rule, approvals: approvals)
        // While it is cut off, or while a person is asked.
        world.settle(untilBegun: approvals == "[]" ? .freezeStandby : .approval(.migrate))
        world.loseStandby()
        world.settle()
        #expect(!kinds(world).contains(.promoteStandby))
        #expect(!world.database.isMigrated)
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        // It cannot be told to follow again; whoever waits for that, waits with writes open.
        #expect(world.theRun.state == .waiting)
        #expect(world.core.directives.values.allSatisfy { $0.writes.isOpen })
        world.startStandby()
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
    }

    /// Files are undone as one transaction, so going back to the primary is what serves readers soonest.
    @Test func readsAreHeldUntilTheMigrationIsUndoneAndThePrimaryAnswers() {
        var world = world("hold")
        world.database.hanging = [.migrate]
        world.settle(untilBegun: .database(.migrate))
        world.settleAtOnce()
        world.loseStandby()
        look(&world)
        world.settleAtOnce()
        #expect(world.theRun.direction == .forward)
        #expect(reads(world)?.until == world.theRun.readingActivation)
        #expect(world.nodes.values.allSatisfy { $0.holdsReads })
        world.request(.rollback)
        world.settle()
        #expect(!kinds(world).contains(.promoteStandby))
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        #expect(world.nodes.values.allSatisfy { !$0.holdsReads })
        #expect(world.violations == [])
    }

    /// The plan says that the old code survives the migration: readers go to the primary, and the run goes on to its end.
    @Test func readsAreServedByThePrimaryWhileFilesMigrate() throws {
        var world = world("serve")
        world.database.hanging = [.migrate]
        world.settle(untilBegun: .database(.migrate))
        world.settleAtOnce()
        world.loseStandby()
        look(&world)
        world.settleAtOnce()
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        #expect(world.nodes.values.allSatisfy { !$0.isGateOpen && !$0.holdsReads })
        let task = try #require(world.theRun.database.inFlight.first)
        world.startStandby()
        look(&world)
        world.settleAtOnce()
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        world.database.hanging = []
        let whole = world.theRun.task(task, epoch: Epoch(rawValue: 1), at: world.now)
        let ended = world.database.perform(whole)
        let outcome = try #require(ended)
        world.put(.databaseEnded(ScenarioWorld.run, task, outcome))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test(
        arguments: ["hold", "serve"],
        [Step.tool, .database(.closePass), .upgraded(batch: 0), .upgraded(batch: 1), .verified])
    func aRunGoesOnWithoutItsStandby(rule: String, step: Step) throws {
        var world = world(rule, tool: Self.tool)
        world.settle(untilBegun: step)
        world.loseStandby()
        look(&world)
        world.settle()
        // The new release is served, and writes are open: the standby alone is waited for.
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.new })
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.current?.step == .feedStandby)
        #expect(world.core.directives.values.allSatisfy { $0.writes.isOpen && $0.reads == .pass })
        world.startStandby()
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
        if step == .tool { try Transcript.compare(world, "standby/lost-in-the-tool-\(rule)") }
    }

    /// The new release starts on the new schema, and what is asked for its health says nothing of the reader.
    @Test func aNodeWhoseNewReleaseIsStartingHoldsReadsUntilItFlips() {
        var world = world("hold", tool: Self.tool, start: "after-migration")
        world.settle(untilBegun: .started)
        world.loseStandby()
        look(&world)
        #expect(reads(world)?.until == world.theRun.forwardActivation)
        world.startStandby()
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test(arguments: [false, true])
    func aStandbyThatIsStartedAgainServesReadersAgain(isReal: Bool) {
        var world = world("hold", tool: Self.tool, isReal: isReal)
        world.nodes[Self.canary]?.tools = [.hangs]
        world.nodes[Self.canary]?.real?.tools = [.hangs]
        world.settle(untilBegun: .tool)
        world.settleAtOnce()
        // More than once: each time they are held anew.
        for _ in 0..<2 {
            world.loseStandby()
            look(&world)
            world.settleAtOnce()
            #expect(world.nodes.values.allSatisfy { $0.holdsReads })
            #expect(world.theRun.because?.contains("reads are held") == true)
            #expect(world.theRun.next?.contains("start the standby") == true)
            world.startStandby()
            look(&world)
            world.settleAtOnce()
            #expect(world.nodes.values.allSatisfy { !$0.holdsReads })
            #expect(world.nodes.values.allSatisfy { $0.active.release == Self.reader })
            #expect(world.theRun.because == nil)
        }
        #expect(world.violations == [])
    }

    /// It may be the coordinator that is cut off from the standby.
    @Test func aNodeWhoseReaderAnswersHoldsNobody() {
        var world = world("hold", tool: Self.tool)
        world.nodes[Self.canary]?.tools = [.hangs]
        world.settle(untilBegun: .tool)
        world.settleAtOnce()
        world.loseStandby()
        world.nodes[Self.node]?.isStandbyDead = false
        world.put(.standbySeen(ScenarioWorld.run, .silent("the standby does not answer")))
        world.settleAtOnce()
        #expect(world.nodes[Self.node]?.holdsReads == false)
        #expect(world.nodes[Self.canary]?.holdsReads == true)
    }

    /// Whoever was sent to the primary is served well there: also on the node whose tool is at work.
    @Test(arguments: [false, true])
    func readersThatWereSentToThePrimaryStayThere(isReal: Bool) {
        var world = world("serve", tool: Self.tool, isReal: isReal)
        world.nodes[Self.canary]?.tools = [.hangs]
        world.nodes[Self.canary]?.real?.tools = [.hangs]
        world.settle(untilBegun: .tool)
        world.settleAtOnce()
        world.loseStandby()
        look(&world)
        world.settleAtOnce()
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        world.startStandby()
        look(&world)
        world.settleAtOnce()
        #expect(world.nodes.values.allSatisfy { $0.active.release == ScenarioWorld.old })
        #expect(!world.theRun.isWayBackBlocked, "it is the way back again")
        world.request(.rollback)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.database.promotion == .done)
        #expect(world.violations == [])
    }

    // MARK: The way back

    /// A run does not turn back to a standby that is not there.
    @Test(arguments: ["hold", "serve"])
    func aFailureWithoutTheStandbyWaitsForAPersonWhoStartsIt(rule: String) {
        var world = world(rule)
        world.nodes[Self.canary]?.isUnhealthy = true
        world.settle(untilBegun: .upgraded(batch: 0))
        world.loseStandby()
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.direction == .forward)
        #expect(world.theRun.next?.contains("start it, it is frozen still") == true)
        world.startStandby()
        world.settle()
        world.request(.rollback)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.database.promotion == .done)
        #expect(world.nodes.values.allSatisfy { $0.active.release == Self.reader })
        #expect(world.violations == [])
    }

    /// It shows the new schema, or will: nobody reads there with the old code, and nobody is told that it is the way back.
    @Test func aStandbyThatFollowsByOtherHandsIsReadNoMore() {
        var world = world("hold", tool: Self.tool)
        world.nodes[Self.canary]?.tools = [.hangs]
        world.settle(untilBegun: .tool)
        world.settleAtOnce()
        world.put(.standbySeen(ScenarioWorld.run, .thawed("the standby is not frozen any more")))
        world.settleAtOnce()
        #expect(reads(world)?.until == world.theRun.forwardActivation)
        #expect(world.nodes.values.allSatisfy { $0.holdsReads })
        #expect(!world.theRun.isNews(.frozen))
        #expect(world.theRun.isWayBackBlocked)
        #expect(world.theRun.waysOut().contains("no way back any more"))
        #expect(!world.theRun.waysOut().contains("rollback"))
    }

    // MARK: What it costs

    private static let budget = StandbySight.trouble(
        DatabaseFailure(code: "wal-budget", "the primary keeps 9GB of its log", advice: "less"))

    /// Also while a tool migrates and while nodes flip.
    @Test(arguments: [Step.tool, .upgraded(batch: 1), .verified])
    func aLogThatCostsMoreThanThePlanAllowsTurnsTheRunBack(step: Step) {
        var world = world("hold", tool: Self.tool)
        if step == .tool { world.nodes[Self.canary]?.tools = [.hangs] }
        world.settle(untilBegun: step)
        world.put(.standbySeen(ScenarioWorld.run, Self.budget))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.reason == "the primary keeps 9GB of its log")
        #expect(world.theRun.database.promotion == .done)
        #expect(world.violations == [])
    }

    /// What a person has been told once does not stop the run for ever.
    @Test func aPersonMayGoOnInSpiteOfIt() {
        var world = world("hold", tool: Self.tool, onFailure: "pause")
        world.settle(untilBegun: .upgraded(batch: 1))
        world.put(.standbySeen(ScenarioWorld.run, Self.budget))
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.request(.retry)
        world.put(.standbySeen(ScenarioWorld.run, Self.budget))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    /// Once writes are open on the new schema nobody goes back to the standby, and nothing of it is watched.
    @Test func nothingOfItIsWatchedBeforeTheFreezeAndAfterTheLift() {
        var world = world("hold")
        var isWatched: [Bool] = []
        for step in [Step.database(.census), .standbyServed, .verified, .opened] {
            world.settle(untilBegun: step)
            isWatched.append(world.theRun.watchesStandby)
        }
        #expect(isWatched == [false, true, true, false])
        world.settle()
        #expect(world.theRun.state == .done)
    }

    // MARK: What is said

    @Test func theReportSaysWhenItWasLostAndWhoServedReaders() throws {
        var world = world("serve", tool: Self.tool)
        world.settle(untilBegun: .tool)
        world.loseStandby()
        look(&world)
        world.startStandby()
        look(&world)
        world.settle()
        let report = try #require(RunReport(world.journal))
        let said = report.troubles.filter { $0.kind == .standby }.map(\.message)
        #expect(
            said == [
                "the standby does not answer; the old release reads from the primary, with the schema as it is there",
                "the frozen standby answers again",
            ])
    }

    @Test(arguments: ["hold", "serve"]) func thePlanSaysWhatBecomesOfReaders(rule: String) {
        let plan = world(rule).theRun.plan
        let preview = StepPreview(plan: plan, batches: [], migrations: [])
        let said = ReadFromStandbyStep(.drain, index: nil).details(preview).joined()
        #expect(said.contains("when it does not answer: \(plan.fateOfReaders)"))
        #expect(
            plan.fateOfReaders.hasPrefix(
                rule == "hold"
                    ? "reads are held, for 10s at most and 1000 a node" : "the old release reads"))
    }

    // MARK: At random

    /// It dies and comes back anywhere, beside all that goes wrong otherwise.
    @Test(arguments: 0..<4) func aDisturbedRunWhoseStandbyDiesViolatesNothingAndComesToAnEnd(
        group: UInt64
    ) {
        DisturbedRunTests.expectAnEnd(
            of: group,
            prepare: { world in
                world.database.standby = FakeStandby()
                let from = 30 + Int(group) * 7
                world.standbyOutage = from..<from + 10 + Int(group) * 3
            },
            plan: { seed in
                Self.plan(
                    group % 2 == 0 ? "serve" : "hold",
                    tool: seed % 3 == 0
                        ? "run: migrate, ledger: django, revert_with: migrate-back, on_partly: again"
                        : nil,
                    start: seed % 4 == 0 ? "after-migration" : "warm",
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2))
            })
    }
}
