// SPDX-License-Identifier: Apache-2.0

import Testing
@testable import UpgradeEngine
import UpgradeModel

@Suite struct DisturbedRunTests {
    /// Losses, repeats, reordering, leaders and agents that die between any two effects, lost nodes, database failures and
    /// requests at random, with the real engine on every node: no invariant is violated on any member, and once they stop the
    /// run has ended or waits for a person.
    @Test(arguments: 0..<20) func aDisturbedRunViolatesNothingAndComesToAnEnd(group: UInt64) {
        Self.expectAnEnd(
            of: group,
            plan: { seed in
                ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: seed % 3 == 0 ? "serve" : "hold",
                    start: seed % 4 == 0 ? "after-migration" : "warm",
                    sessions: seed % 4 == 1 ? "cookie: sessionid" : nil)
            })
    }

    /// The same with the application's own migration tool, which fails, hangs or is interrupted at random as well: it never runs
    /// again before the database has said what it has done, and never without its pass.
    @Test(arguments: 0..<20) func aDisturbedRunWithAToolViolatesNothingAndComesToAnEnd(
        group: UInt64
    ) {
        let tools = [
            "run: migrate, ledger: django, revert_with: migrate-back, on_partly: again",
            "run: migrate, ledger: django, revert_with: migrate-back, on_partly: back",
            "run: migrate, ledger: django, on_partly: person",
            "run: migrate, ledger: django, revert_with: migrate-back, on_partly: again\(Self.outside)",
            "run: migrate, ledger: django, on_partly: person\(Self.outside)",
        ]
        Self.expectAnEnd(
            of: group,
            leadOn: { world, _ in
                if world.theRun.direction == .back { world.database.tool.restore() }
                world.request(.retry)
            },
            plan: { seed in
                ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: seed % 3 == 0 ? "serve" : "hold", tool: tools[Int(seed / 2 % 5)])
            })
    }

    /// The same with reads from a standby: nobody reads a schema that its code does not know, and never do two servers take writes.
    @Test(arguments: 0..<10) func aDisturbedRunWithAStandbyViolatesNothingAndComesToAnEnd(
        group: UInt64
    ) {
        Self.expectAnEnd(
            of: group, prepare: { $0.database.standby = FakeStandby() },
            plan: { seed in
                let plan = ScenarioTests.plan(
                    onFailure: seed % 5 == 0 ? "pause" : "rollback", budget: Int(seed % 2),
                    reads: "standby", start: seed % 4 == 0 ? "after-migration" : "warm")
                return seed % 3 == 2 ? SwitchedDatabaseTests.switched(plan) : plan
            })
    }

    /// Fifty runs, each with faults of its own; when they have stopped, what waits for a person gets one.
    ///
    /// - Parameters:
    ///   - others: databases besides the one under `database`.
    ///   - leadOn: what that person does with a run that waits.
    static func expectAnEnd(
        of group: UInt64, others: [String] = [], prepare: (inout ScenarioWorld) -> Void = { _ in },
        leadOn: (inout ScenarioWorld, UInt64) -> Void = Self.goForwardOrRetry,
        plan: (UInt64) -> String
    ) {
        for seed in group * 50..<group * 50 + 50 {
            var world = ScenarioWorld(isReal: true, others: others)
            prepare(&world)
            world.start(plan(seed))
            world.database.older = seed % 2 == 0 ? 0 : nil
            for name in world.others.keys { world.others[name]?.older = world.database.older }
            world.disturbance = Disturbance(seed: seed)
            world.settle()
            world.endDisturbance()
            for _ in 0..<12 where !world.theRun.isEnded {
                switch world.theRun.state {
                case .paused: world.request(.resume)
                case .waiting: leadOn(&world, seed)
                case .awaitingApproval: world.request(.approve)
                case .running, .rollingBack, .done, .rolledBack, .refused: break
                }
                world.settle()
            }
            let isEnded = world.theRun.isEnded
            #expect(isEnded, "seed \(seed): \(world.theRun.state) at \(world.theRun.phase)")
            #expect(world.violations == [], "seed \(seed)")
        }
    }

    /// A run that goes back may be told to go forward again, once or twice.
    static func goForwardOrRetry(_ world: inout ScenarioWorld, _ seed: UInt64) {
        let goesForward = seed % 2 == 1 && world.theRun.turns < Int(seed % 3)
        if goesForward, world.theRun.direction == .back, world.theRun.mayGoForward {
            world.demand(.goForward)
        } else {
            world.request(.retry)
        }
    }

    private static let outside =
        ", expand_with: migrate-early, contract_with: migrate-late, preview_with: migrate-preview"

    @Test func theSameSeedGivesTheSameRun() {
        func text(_ seed: UInt64) -> String {
            var world = ScenarioWorld()
            world.start(ScenarioTests.plan(budget: 1))
            world.disturbance = Disturbance(seed: seed)
            world.settle()
            return world.text
        }
        for seed in UInt64(0)..<20 { #expect(text(seed) == text(seed)) }
    }

    /// The checks can fail: a database that forgets to take the fence down is noticed.
    @Test func foldingTheJournalAtEveryVersionGivesTheSameRun() throws {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan())
        world.settle()
        var live = try #require(CoordinatorCore.fold(Array(world.journal.prefix(1))))
        for (index, event) in world.journal.dropFirst().enumerated() {
            live.apply(event)
            let folded = try #require(CoordinatorCore.fold(Array(world.journal.prefix(index + 2))))
            #expect(folded.version == live.version)
            #expect(folded.current == live.current)
            #expect(folded.members == live.members)
            #expect(folded.databaseCommands == live.databaseCommands)
        }
    }
}
