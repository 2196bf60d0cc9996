// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel
import UpgradePlan

@testable import UpgradeEngine

/// Databases of one plan with a migration tool each: one after the other, each with a pass of its own, and undone in reverse order.
@Suite struct ToolsOfSeveralTests {
    private static let visits = DatabaseName(unchecked: "visits")
    private static let canary = NodeName(unchecked: "web-1")
    private static let reverting = "run: migrate, ledger: django, revert_with: migrate-back"

    private func world(
        _ tools: [ToolBehaviour] = [], _ first: String = Self.reverting,
        _ second: String = Self.reverting, until step: Step? = nil
    ) -> ScenarioWorld {
        var world = ScenarioWorld(others: ["visits"])
        world.database.place = "7/1"
        world.others[Self.visits]?.place = "7/2"
        world.nodes[Self.canary]?.tools = tools
        world.start(
            ScenarioTests.plan(tool: first, databases: ["visits"], otherTool: second))
        world.settle(untilBegun: step)
        return world
    }

    private func performed(_ world: ScenarioWorld, where isWanted: (String) -> Bool) -> [String] {
        world.journal.compactMap { recorded in
            guard case .databaseTaskStarted(let fact) = recorded.event else { return nil }
            return "\(fact.kind.rawValue) \(fact.database?.rawValue ?? "?")"
        }.filter(isWanted)
    }

    private func runs(_ world: ScenarioWorld) -> [Int] {
        [world.database.tool.runs, world.others[Self.visits]?.tool.runs ?? 0]
    }

    private func expect(_ world: ScenarioWorld, _ state: RunState, runs wanted: [Int]) {
        #expect(world.theRun.state == state)
        #expect(runs(world) == wanted)
        #expect(world.violations == [])
    }

    @Test func eachToolRunsOnceBehindItsOwnFenceInTheOrderOfThePlan() throws {
        let world = world()
        expect(world, .done, runs: [1, 1])
        let window = performed(world) { $0.hasPrefix("migrate") || $0.contains("Pass") }
        #expect(
            window == [
                "migrate default", "migrate visits", "openPass default", "closePass default",
                "openPass visits", "closePass visits",
            ])
        let passes = [world.database, try #require(world.others[Self.visits])].map { database in
            database.performed.first { $0.kind == .openPass }?.pass
        }
        #expect(passes.allSatisfy { $0 != nil } && passes[0] != passes[1])
        try Transcript.compare(world, "databases/two-tools")
    }

    @Test func thePassOfTheSecondIsMadeWhileTheFirstRuns() {
        let world = world(until: Step(OpenPassStep.word, 1))
        #expect(world.theRun.passes.keys.contains { $0.rawValue.contains("/nodes.tool.1/") })
    }

    @Test func eachIsToldWhichDatabaseItIsFor() {
        let world = world(until: Step(ToolStep.word, 1))
        let task = world.core.directives[Self.canary]?.tasks.first { $0.tool != nil }
        #expect(task?.tool?.database == Self.visits)
    }

    @Test func whatTheFirstHasDoneIsUndoneAfterTheSecondBeforeAnyFenceIsLowered() throws {
        let back = Self.reverting + ", on_partly: back"
        let world = world([.done, .failsPartly], back, back)
        expect(world, .rolledBack, runs: [1, 1])
        let reason = try #require(world.theRun.reason)
        #expect(reason.hasPrefix("the migration tool of visits has done a part of its work"))
        let undone = performed(world) { $0.contains("RevertPass") || $0.contains("lowerFence") }
        #expect(
            undone == [
                "openRevertPass visits", "closeRevertPass visits", "openRevertPass default",
                "closeRevertPass default", "lowerFence visits", "lowerFence default",
            ])
        try Transcript.compare(world, "databases/second-tool-fails")
    }

    @Test func onlyTheOneThatHasFailedHalfwayIsRunAgain() {
        let again = "run: migrate, ledger: django, on_partly: again"
        expect(world([.done, .failsPartly], again, again), .done, runs: [1, 2])
        expect(world([.failsPartly, .done], again, again), .done, runs: [2, 1])
    }

    @Test func whatTheFirstHasDoneAndNothingUndoesKeepsTheRunFromTurningBack() throws {
        var world = world(
            [.done, .failsUnchanged], "run: migrate, ledger: django", Self.reverting)
        expect(world, .waiting, runs: [1, 1])
        let advice = try #require(world.theRun.next)
        #expect(advice.hasPrefix("the migration tool of default has changed the database"))
        world.request(.retry)
        world.settle()
        expect(world, .done, runs: [1, 2])
    }

    @Test func whoeverTurnsBackAllTheSameIsToldWhichDatabaseToPutBack() throws {
        var world = world(
            [.done, .failsUnchanged], "run: migrate, ledger: django", Self.reverting)
        world.request(.rollback)
        world.settle()
        #expect(world.theRun.state == .waiting)
        let reason = try #require(world.theRun.because)
        #expect(
            reason.hasPrefix(
                "the migration tool has changed the database (default), and the plan names no `revert_with`"
            ))
        #expect(world.theRun.databaseAtWork == .default)
        world.database.tool.restore()
        world.request(.retry)
        world.settle()
        expect(world, .rolledBack, runs: [1, 1])
    }

    @Test(arguments: [OpenPassStep.word, ToolStep.word, ClosePassStep.word], [0, 1])
    func aNewLeaderGoesOnWhereTheToolIs(word: String, index: Int) {
        var world = world(until: Step(word, index))
        world.restart()
        world.settle()
        expect(world, .done, runs: [1, 1])
    }

    /// What is stored of a plan with one tool is what it always was.
    @Test func theOnlyToolOfSeveralDatabasesHasNoIndex() throws {
        let text = ScenarioTests.plan(tool: Self.reverting, databases: ["visits"])
        let plan = try #require(PlanDocument.stored(text: text, file: "p"))
        let words = Itinerary.forward(plan, batches: 2).map(\.step.description)
        #expect(words.contains("nodes:tool") && words.contains("database:openPass"))
        let both = ScenarioTests.plan(
            tool: Self.reverting, databases: ["visits"], otherTool: Self.reverting)
        let second = try #require(PlanDocument.stored(text: both, file: "p"))
        let steps = Itinerary.forward(second, batches: 2)
        #expect(steps.map(\.step.description).contains("nodes:tool:1"))
        #expect(steps.allSatisfy { Step($0.step.description) == $0.step })
        #expect(
            steps.first { $0.step == Step(ToolStep.word, 1) }?.title(in: second)
                == "run the migration tool: the action migrate (visits)")
    }

    @Test func whatBecomesOfTheFirstWhenTheSecondFailsIsSaidBefore() throws {
        let text = ScenarioTests.plan(
            tool: "run: migrate, ledger: django", databases: ["visits", "mail"],
            otherTool: Self.reverting)
        let plan = try #require(PlanDocument.stored(text: text, file: "p"))
        let last = OpenPassStep(.migrate, index: 2)
        #expect(
            last.details(StepPreview(plan: plan, batches: [], migrations: [])) == [
                "when it fails, the work of the tool of visits is undone as well",
                "when it fails, what the tool of default has done stays, for nothing undoes it: the run waits for a person",
            ])
    }

    @Test func anAgentThatDoesNotTellAToolItsDatabaseIsRefused() {
        var world = ScenarioWorld(others: ["visits"])
        world.nodes[Self.canary]?.lacksAbilities = true
        world.start(
            ScenarioTests.plan(
                tool: Self.reverting, databases: ["visits"], otherTool: Self.reverting))
        world.settle()
        expect(world, .refused, runs: [0, 0])
        let reason = world.theRun.reason ?? ""
        #expect(reason.contains("cannot tell a migration tool which database it is for"))
    }

    /// As `DisturbedRunTests`, with tools in both databases that fail, hang or are interrupted by turns.
    @Test(arguments: 0..<5) func aDisturbedRunOfTwoToolsViolatesNothing(group: UInt64) {
        let outside =
            ", expand_with: migrate-early, contract_with: migrate-late, preview_with: migrate-preview"
        let tools = [
            Self.reverting + ", on_partly: again", Self.reverting + ", on_partly: back",
            "run: migrate, ledger: django, on_partly: person",
            Self.reverting + ", on_partly: again" + outside,
        ]
        DisturbedRunTests.expectAnEnd(
            of: group, others: ["visits"],
            leadOn: { world, _ in
                if world.theRun.direction == .back {
                    world.database.tool.restore()
                    world.others[Self.visits]?.tool.restore()
                }
                world.request(.retry)
            },
            plan: { seed in
                ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: seed % 3 == 0 ? "serve" : "hold", tool: tools[Int(seed / 2 % 4)],
                    databases: ["visits"], otherTool: tools[Int(seed / 8 % 4)])
            })
    }
}
