// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// `drain.timeout` is one budget: nodes, fence and census spend it together.
@Suite struct DrainBudgetTests {
    private func budgets(stuck: Int, drain: String = "5s") -> [DatabaseTask] {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.stuckWrites = stuck
        world.start(ScenarioTests.plan().replacing("timeout: 5s", with: "timeout: \(drain)"))
        world.settle()
        #expect(world.theRun.state == .done)
        return world.database.performed
    }

    @Test func whatNodesHaveNotSpentIsLeftForTheDatabase() {
        let tasks = budgets(stuck: 0)
        #expect(tasks.first { $0.kind == .raiseFence }?.budget == .seconds(5))
        #expect(tasks.first { $0.kind == .census }?.budget == .seconds(5))
        #expect(tasks.first { $0.kind == .migrate }?.budget == nil)
    }

    @Test func nothingIsLeftWhenNodesTookAllOfIt() {
        let tasks = budgets(stuck: 1)
        #expect(tasks.first { $0.kind == .raiseFence }?.budget == .zero)
        #expect(tasks.first { $0.kind == .census }?.budget == .zero)
    }

    /// The fence may wait for as long as the drain allows; the run does not turn back before that is over.
    @Test func aDrainLongerThanTheReadOnlyDeadlineIsNotCutOffByIt() throws {
        var world = ScenarioWorld()
        world.database.hanging = [.raiseFence]
        world.start(ScenarioTests.plan().replacing("timeout: 5s", with: "timeout: 1m"))
        world.settle(untilBegun: .database(.raiseFence))
        let current = try #require(world.theRun.current)
        let deadline = try #require(world.theRun.nextDeadline)
        #expect(deadline - current.beganAt >= .seconds(60))
    }

    @Test func theLiftIsToldWhatTheDatabaseHasToShow() {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan())
        world.settle()
        let lift = world.database.performed.first { $0.kind == .lowerFence }
        #expect(lift?.proof == FakeDatabase.proof)
    }

    @Test func onTheWayBackAFenceThatIsNotUpNeedsNoProof() {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        let lift = world.database.performed.first { $0.kind == .lowerFence }
        #expect(lift != nil && lift?.proof == nil)
    }
}
