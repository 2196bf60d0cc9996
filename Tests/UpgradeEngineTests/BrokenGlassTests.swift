// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// A person may open a gate against the coordinator's word; the schema is not opened to what it lets through.
@Suite struct BrokenGlassTests {
    static let node = NodeName(unchecked: "web-2")

    @Test func glassBrokenAfterTheMigrationKeepsTheFenceUpUntilAPersonHasEndedIt() throws {
        var world = ScenarioWorld()
        world.on(.rollout) { world in
            world.note("the glass of web-2 is broken")
            world.nodes[Self.node]?.breakGlass = "pager"
        }
        world.start(ScenarioTests.plan(onFailure: "rollback"))
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.isPastPointOfNoReturn == false)
        #expect(world.database.isFenced)
        world.note("and mended")
        world.nodes[Self.node]?.breakGlass = nil
        world.tellAgain(Self.node)
        world.settle()
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "broken-glass/in-rollout")
    }

    @Test func aQuarantinedNodeWithBrokenGlassKeepsTheFenceUpAsWell() {
        var world = ScenarioWorld()
        world.nodes[Self.node]?.failingGoal = .activate
        world.on(.verify) { world in
            world.nodes[Self.node]?.breakGlass = "pager"
            world.report(Self.node)
        }
        world.start(ScenarioTests.plan(budget: 1))
        world.settle()
        #expect(world.theRun.quarantined == [Self.node])
        #expect(world.theRun.state == .waiting)
        world.request(.rollback)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.violations == [])
    }
}
