// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// A database task that failed, or was told to end.
@Suite struct GivenUpTaskTests {
    @Test func aRetryWhileTheOldTaskIsStillEndingWaitsForItsEnd() {
        var world = ScenarioWorld()
        world.database.hanging = [.migrate]
        world.holdsCancellations = true
        world.start(ScenarioTests.plan(onFailure: "pause"))
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.database.hanging = []
        world.request(.retry)
        #expect(world.theRun.state == .running)
        #expect(
            world.theRun.databaseCommands == [
                .cancel(DatabaseTaskFact(kind: .migrate, attempt: 1))
            ])
        world.endCancelled()
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.violations == [])
    }

    @Test func aComparisonThatWasToldToEndAndEndsAllTheSameIsHeardByTheRetry() {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.database.hanging = [.revertExpand]
        world.holdsCancellations = true
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.request(.retry)
        var report = DatabaseReport()
        report.schemaChanges = ["table public.note is new"]
        world.endCancelled(as: .done(report))
        world.settle()
        // "Rolled back" is said of a schema that is as before, and of no other.
        #expect(world.theRun.state == .waiting)
        #expect(world.theRun.schemaChanges == ["table public.note is new"])
    }

    @Test func aRunThatGoesForwardAgainReportsNoSchemaOfTheWayBack() {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.database.hanging = [.revertExpand]
        world.holdsCancellations = true
        world.start(ScenarioTests.plan())
        world.settle()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = false
        world.demand(.goForward)
        var report = DatabaseReport()
        report.schemaChanges = ["table public.note is new"]
        world.endCancelled(as: .done(report))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.schemaChanges == [])
    }

    @Test(arguments: ["rollback", "pause"]) func theAdviceOfAFailedTaskIsTheRuns(policy: String) {
        var world = ScenarioWorld()
        world.database.failing = [.migrate: 1]
        world.database.advice = "give the column a default"
        world.start(ScenarioTests.plan(onFailure: policy))
        world.settle()
        let advice: String? =
            if case .stopped(let stopped) = world.theRun.standing {
                stopped.advice
            } else {
                world.theRun.advice
            }
        #expect(advice?.hasPrefix("give the column a default") == true)
    }

    @Test func theAdviceOfFindingsInPreflightIsTheRuns() {
        var world = ScenarioWorld()
        world.database.failing = [.preflight: 1]
        world.database.findings = [
            Diagnostic(.error, code: "role", "app owns it", advice: "ALTER TABLE t OWNER TO o"),
            Diagnostic(.error, code: "pooler", "a pooler is between", advice: "connect directly"),
        ]
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .refused)
        #expect(world.theRun.advice == "ALTER TABLE t OWNER TO o; connect directly")
    }

    @Test func aPausedRunWaitsForNoBakeThatIsOver() {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan().replacing("canary: 1", with: "canary: 1\n  bake: 1s"))
        world.settle(untilBegun: .bake(batch: 0))
        world.request(.pause)
        world.pass(.seconds(2))
        world.put(.time)
        #expect(world.theRun.nextDeadline == nil)
        world.request(.resume)
        world.settle()
        #expect(world.theRun.state == .done)
    }

    @Test(arguments: [DatabaseFailure.PossibleEffect.none, .unknown])
    func aFenceThatCertainlyStayedUpEndsNoWayBack(effect: DatabaseFailure.PossibleEffect) {
        var world = ScenarioWorld()
        world.database.failing = [.lowerFence: 5]
        world.database.effect = effect
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        if case .stopped(let stopped) = world.theRun.standing {
            #expect(stopped.advice.contains("rollback") == (effect == .none))
        }
        world.request(.rollback)
        world.settle()
        #expect(world.theRun.state == (effect == .none ? .rolledBack : .waiting))
        #expect(world.violations == [])
    }
}
