// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel
import UpgradePlan

@testable import UpgradeEngine

/// Databases that a run goes on without, because their migration has failed: their fence stays up and their sites are closed, and a
/// later run takes them in.
@Suite struct LeftOutTests {
    private static let visits = DatabaseName(unchecked: "visits")
    private static let canary = NodeName(unchecked: "web-1")
    private static let again = "run: migrate, ledger: django, on_partly: again"
    private static let reverting = "run: migrate, ledger: django, revert_with: migrate-back"

    private func world(
        most: Int = 1, onFailure: String = "rollback", reads: String = "hold", tool: String? = nil,
        more: String = "", _ change: (inout ScenarioWorld) -> Void = { _ in }
    ) -> ScenarioWorld {
        var world = ScenarioWorld(others: ["mail", "visits"])
        world.database.place = "7/1"
        world.others[DatabaseName(unchecked: "mail")]?.place = "7/2"
        world.others[Self.visits]?.place = "7/3"
        change(&world)
        world.start(
            ScenarioTests.plan(
                onFailure: onFailure, reads: reads, tool: tool, databases: ["mail", "visits"],
                otherTool: tool, leftOutAtMost: most) + "\n" + more)
        return world
    }

    private func kinds(_ world: ScenarioWorld) -> [DatabaseTask.Kind] {
        world.others[Self.visits]?.performed.map(\.kind) ?? []
    }

    private func expect(_ world: ScenarioWorld, _ state: RunState, leftOut: [String]) {
        #expect(world.theRun.state == state)
        #expect(world.theRun.databasesLeftOut.map(\.database.rawValue) == leftOut)
        #expect(world.violations == [])
    }

    // MARK: Leaving out

    @Test(arguments: ["rollback", "pause"])
    func theOthersGoToTheNewReleaseWithoutTheOneThatHasFailed(onFailure: String) throws {
        var world = world(onFailure: onFailure) { $0.others[Self.visits]?.failing = [.migrate: 1] }
        world.settle()
        expect(world, .done, leftOut: ["visits"])
        #expect(
            kinds(world) == [.preflight, .expand, .raiseFence, .census, .migrate, .leaveOut])
        #expect(world.others[Self.visits]?.isFenced == true)
        for node in world.nodes.values { #expect(node.closedSites == [Self.visits]) }
        let reason = try #require(world.theRun.because)
        #expect(reason.hasPrefix("left out: visits: migrate the schema (visits) failed: "))
        let advice = try #require(world.theRun.next)
        #expect(advice.contains("the fence of visits stays up"))
        #expect(advice.contains("without its `release.expected`"))
        let report = try #require(RunReport(world.journal))
        #expect(report.leftOut?.map(\.database) == [Self.visits])
        #expect(report.troubles.contains { $0.kind == .databaseLeftOut })
        if onFailure == "rollback" { try Transcript.compare(world, "databases/left-out") }
    }

    /// The new release does not know its schema.
    @Test func theSiteIsClosedOnEveryNodeBeforeTheFirstOneFlips() {
        var world = world { $0.others[Self.visits]?.failing = [.migrate: 1] }
        world.settle(untilBegun: .upgraded(batch: 0))
        for node in world.nodes.values {
            #expect(node.active.release == ScenarioWorld.old)
            #expect(node.closedSites == [Self.visits])
        }
    }

    @Test func whereTheSiteCannotBeClosedTheRunTurnsBackAndNobodyIsLeftOut() throws {
        var world = world { world in
            world.others[Self.visits]?.failing = [.migrate: 1]
            world.nodes[Self.canary]?.failingTask = "close-site"
        }
        world.settle()
        expect(world, .rolledBack, leftOut: [])
        #expect(try #require(world.theRun.reason).contains("close-site failed"))
        #expect(world.others[Self.visits]?.isFenced == false)
    }

    /// The migrations of the window are tried in stage: most of what fails is found there.
    @Test func aDatabaseWhoseTrialFailsInStageIsFencedWithTheOthersAndLeftOut() {
        var world = world { $0.others[Self.visits]?.failing = [.expand: 1] }
        world.settle()
        expect(world, .done, leftOut: ["visits"])
        #expect(kinds(world) == [.preflight, .expand, .raiseFence, .census, .leaveOut])
        for node in world.nodes.values { #expect(node.closedSites == [Self.visits]) }
    }

    @Test func oneMoreThanThePlanAllowsTurnsTheRunBack() {
        var world = world { world in
            world.database.failing = [.migrate: 1]
            world.others[Self.visits]?.failing = [.migrate: 1]
        }
        world.settle()
        expect(world, .rolledBack, leftOut: [])
        #expect(world.theRun.reason?.hasPrefix("migrate the schema (visits) failed: ") == true)
    }

    @Test func asManyAsThePlanAllowsAreLeftOut() {
        var world = world(most: 2, more: "migrations_at_once: 3") { world in
            world.database.failing = [.migrate: 1]
            world.others[Self.visits]?.failing = [.migrate: 1]
        }
        world.settle()
        expect(world, .done, leftOut: ["default", "visits"])
    }

    /// A server that is gone is none of the site's mistakes, and its fence cannot be seen.
    @Test(arguments: [DatabaseTask.Kind.expand, .migrate])
    func aDatabaseThatIsNotThereIsNotLeftOut(kind: DatabaseTask.Kind) {
        var world = world { world in
            world.others[Self.visits]?.failing = [kind: 1]
            world.others[Self.visits]?.code = "unreachable"
        }
        world.settle()
        expect(world, .rolledBack, leftOut: [])
        #expect(!kinds(world).contains(.leaveOut))
    }

    /// Nobody knows what is left of it.
    @Test func whatMayHaveTakenEffectIsNotLeftOut() {
        var world = world { world in
            world.others[Self.visits]?.failing = [.migrate: 1]
            world.others[Self.visits]?.effect = .unknown
        }
        world.settle()
        expect(world, .rolledBack, leftOut: [])
    }

    /// Only the database can say that its fence is up.
    @Test func whereTheDatabaseDoesNotSayThatItsFenceIsUpTheRunTurnsBack() {
        var world = world { $0.others[Self.visits]?.failing = [.migrate: 1, .leaveOut: 1] }
        world.settle()
        expect(world, .rolledBack, leftOut: [])
        #expect(world.theRun.reason?.hasPrefix("leave it out (visits) failed: ") == true)
    }

    @Test(arguments: ["hold", "serve"])
    func aRollbackBeforeTheLiftUndoesAllAndOpensTheSite(reads: String) throws {
        var world = world(reads: reads) { $0.others[Self.visits]?.failing = [.migrate: 1] }
        world.settle(untilBegun: .upgraded(batch: 0))
        world.request(.rollback)
        world.settle()
        expect(world, .rolledBack, leftOut: [])
        for node in world.nodes.values { #expect(node.closedSites == []) }
        if reads == "hold" { try Transcript.compare(world, "databases/left-out-rollback") }
    }

    @Test func aRunThatGoesForwardAgainTriesItAgain() {
        var world = world { world in
            world.others[Self.visits]?.failing = [.migrate: 1]
            world.database.failing = [.revertMigrate: 5]
            world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = true
        }
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = false
        world.demand(.goForward)
        world.settle()
        expect(world, .done, leftOut: [])
        #expect(world.others[Self.visits]?.isMigrated == true)
        for node in world.nodes.values { #expect(node.closedSites == []) }
    }

    @Test(arguments: [LeaveOutStep.word, CloseSitesStep.word, UpgradeStep.word, ContractStep.word])
    func aNewLeaderGoesOnWithoutIt(word: String) {
        var world = world { $0.others[Self.visits]?.failing = [.migrate: 1] }
        let step =
            switch word {
            case LeaveOutStep.word: Step(word, 2)
            case CloseSitesStep.word: CloseSitesStep.step
            default: Step(word, 0)
            }
        world.settle(untilBegun: step)
        world.restart()
        world.settle()
        expect(world, .done, leftOut: ["visits"])
    }

    @Test func aRunThatLeavesNothingOutIsTheSameAsOneThatMayNot() {
        func journal(_ most: Int?) -> [String] {
            var world = ScenarioWorld(others: ["visits"])
            world.database.place = "7/1"
            world.others[Self.visits]?.place = "7/2"
            world.start(ScenarioTests.plan(databases: ["visits"], leftOutAtMost: most))
            world.settle()
            return world.journal.dropFirst().map { ScenarioWorld.describe($0.event) }
        }
        #expect(journal(1) == journal(nil))
    }

    @Test func aNodeThatJoinsLaterClosesTheSiteBeforeItServes() {
        var world = world { $0.others[Self.visits]?.failing = [.migrate: 1] }
        world.settle(untilBegun: .upgraded(batch: 0))
        world.join("web-9")
        world.settle()
        expect(world, .done, leftOut: ["visits"])
        #expect(world.nodes[NodeName(unchecked: "web-9")]?.closedSites == [Self.visits])
    }

    // MARK: Tools

    /// How often it is run, and how much of it is done when the run goes on without it.
    @Test(
        arguments: [
            (.failsUnchanged, LeftOutTests.again, 1), (.failsUnchanged, LeftOutTests.reverting, 1),
            (.failsPartly, LeftOutTests.again, 3),
        ] as [(ToolBehaviour, String, Int)])
    func aDatabaseWhoseToolHasFailedIsLeftOut(
        behaviour: ToolBehaviour, tool: String, runs: Int
    ) throws {
        var world = world(tool: tool) { world in
            world.nodes[Self.canary]?.tools =
                [.done] + (0..<runs).map { _ in behaviour } + [.done]
        }
        world.settle()
        expect(world, .done, leftOut: ["mail"])
        let mail = try #require(world.others[DatabaseName(unchecked: "mail")])
        #expect(mail.tool.runs == runs && mail.tool.pass == nil)
        #expect(world.others[Self.visits]?.tool.level == 2)
    }

    /// The plan says what follows.
    @Test func aToolThatHasDoneAPartIsNotLeftOutWhereThePlanAsksAPersonOrTurnsBack() {
        let states: [(String, RunState)] = [("person", .waiting), ("back", .rolledBack)]
        for (word, state) in states {
            var world = world(tool: Self.reverting + ", on_partly: \(word)") {
                $0.nodes[Self.canary]?.tools = [.done, .failsPartly]
            }
            world.settle()
            expect(world, state, leftOut: [])
        }
    }

    // MARK: Taking in again

    private func later(
        most: Int = 1, tool: String? = nil, _ change: (inout ScenarioWorld) -> Void = { _ in }
    ) -> ScenarioWorld {
        world(most: most, tool: tool) { world in
            world.others[Self.visits]?.leaveOut(by: RunIdentifier(unchecked: "r0"))
            for name in world.nodes.keys { world.nodes[name]?.closedSites = [Self.visits] }
            change(&world)
        }
    }

    @Test func theNextRunTakesTheFenceOverAndOpensTheSiteAfterTheLift() throws {
        var world = later()
        world.settle()
        expect(world, .done, leftOut: [])
        for node in world.nodes.values { #expect(node.closedSites == []) }
        #expect(
            kinds(world) == [
                .preflight, .expand, .raiseFence, .census, .migrate, .lowerFence, .contract,
            ])
        try Transcript.compare(world, "databases/taken-in-again")
    }

    /// The release that is served does not know its schema, whatever becomes of the run.
    @Test(arguments: [DatabaseTask.Kind.expand, .raiseFence, .census, .migrate])
    func aRunThatTurnsBackLeavesTheFenceAndTheSiteAsTheyWere(kind: DatabaseTask.Kind) throws {
        var world = later(most: 0) { $0.database.failing = [kind: 1] }
        world.settle()
        expect(world, .rolledBack, leftOut: ["visits"])
        for node in world.nodes.values { #expect(node.closedSites == [Self.visits]) }
        #expect(!kinds(world).contains(.lowerFence))
        #expect(world.theRun.because?.contains("visits: left out by run r0, and still is") == true)
    }

    @Test func aDatabaseThatFailsAgainIsLeftOutAgain() {
        var world = later { $0.others[Self.visits]?.failing = [.migrate: 1] }
        world.settle()
        expect(world, .done, leftOut: ["visits"])
        for node in world.nodes.values { #expect(node.closedSites == [Self.visits]) }
    }

    /// A tool cannot write behind the fence before the window: it does all of it in the window.
    @Test func whatItsToolDoesBeforeTheWindowIsDoneInTheWindow() {
        var world = later(tool: Self.again + ", expand_with: migrate-early")
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.others[Self.visits]?.tool.early.runs == 0)
        #expect(world.database.tool.early.runs == 1)
    }

    @Test func aPlanThatCannotOpenTheSiteIsRefused() throws {
        var world = ScenarioWorld(others: ["visits"])
        world.others[Self.visits]?.leaveOut(by: RunIdentifier(unchecked: "r0"))
        for name in world.nodes.keys { world.nodes[name]?.closedSites = [Self.visits] }
        world.start(ScenarioTests.plan(databases: ["visits"]))
        world.settle()
        #expect(world.theRun.state == .refused)
        #expect(
            world.theRun.reason?.hasPrefix("run r0 has left visits out and closed its site") == true
        )
        #expect(world.violations == [])
    }

    @Test func anAgentThatDoesNotTellAnActionItsDatabaseIsRefused() {
        var world = world { $0.nodes[Self.canary]?.lacksAbilities = true }
        world.settle()
        #expect(world.theRun.state == .refused)
        let reason = world.theRun.reason ?? ""
        #expect(reason.contains("cannot tell an action which database it is for"))
    }

    /// A plan that names the database alone has no budget, and takes it in all the same.
    @Test(arguments: [0, 1]) func aPlanWithThatDatabaseAloneTakesItIn(failures: Int) {
        var world = ScenarioWorld()
        world.database.leaveOut(by: RunIdentifier(unchecked: "r0"))
        world.database.failing = [.migrate: failures]
        for name in world.nodes.keys { world.nodes[name]?.closedSites = [.default] }
        world.start(ScenarioTests.plan(leftOutAtMost: 0))
        world.settle()
        expect(
            world, failures == 0 ? .done : .rolledBack, leftOut: failures == 0 ? [] : ["default"])
        #expect(world.database.isFenced == (failures > 0))
    }

    @Test func whatBecomesOfADatabaseThatFailsIsSaidBefore() throws {
        let text = ScenarioTests.plan(databases: ["visits"], leftOutAtMost: 1)
        let plan = try #require(PlanDocument.stored(text: text, file: "p"))
        let preview = StepPreview(plan: plan, batches: [], migrations: [])
        let steps = Itinerary.forward(plan, batches: 2)
        func details(_ step: Step) throws -> [String] {
            try #require(steps.first { $0.step == step }).details(preview)
        }
        let second = try #require(try details(Step(MigrateStep.word, 1)).last)
        #expect(second.hasPrefix("when it fails and no more may be left out, "))
        #expect(
            try details(Step(LeaveOutStep.word, 1)).first?.hasPrefix(
                "only where its migration has failed, 1 of 2 databases at most: ") == true)
        #expect(
            try details(CloseSitesStep.step) == [
                "only where a database is left out: the actions close-site"
            ])
    }

    // MARK: Disturbed

    /// As `DisturbedRunTests`, with three databases of which one or two may be left out, by files or by tools.
    @Test(arguments: 0..<8) func aDisturbedRunThatMayLeaveOutViolatesNothing(group: UInt64) {
        let tools = [nil, Self.again, Self.reverting + ", on_partly: back"]
        DisturbedRunTests.expectAnEnd(
            of: group, others: ["mail", "visits"],
            prepare: { world in
                let failing = [DatabaseName.default, Self.visits][Int(group % 2)]
                if failing == .default {
                    world.database.failing = [.migrate: 1]
                } else {
                    world.others[failing]?.failing = [.migrate: 1]
                }
            },
            leadOn: { world, seed in
                if world.theRun.direction == .back {
                    world.database.tool.restore()
                    for name in world.others.keys { world.others[name]?.tool.restore() }
                }
                DisturbedRunTests.goForwardOrRetry(&world, seed)
            },
            plan: { seed in
                let tool = tools[Int(seed / 2 % 3)]
                return ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: seed % 3 == 0 ? "serve" : "hold", tool: tool,
                    databases: ["mail", "visits"], otherTool: tool,
                    leftOutAtMost: 1 + Int(seed % 2))
                    + "\nmigrations_at_once: \(1 + seed % 3)"
            })
    }

    /// The same where an earlier run has left one out.
    @Test(arguments: 0..<6) func aDisturbedRunThatTakesOneInViolatesNothing(group: UInt64) {
        DisturbedRunTests.expectAnEnd(
            of: group, others: ["mail", "visits"],
            prepare: { world in
                world.others[Self.visits]?.leaveOut(by: RunIdentifier(unchecked: "r0"))
                for name in world.nodes.keys { world.nodes[name]?.closedSites = [Self.visits] }
                if group % 2 == 0 { world.others[Self.visits]?.failing = [.migrate: 1] }
            },
            plan: { seed in
                ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: seed % 3 == 0 ? "serve" : "hold", databases: ["mail", "visits"],
                    leftOutAtMost: Int(seed % 3))
            })
    }
}
