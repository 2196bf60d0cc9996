// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Testing
import UpgradeModel

@testable import Coordinator

/// The frozen standby of a run is looked after, whatever is at work meanwhile.
@Suite struct StandbyWatchTests {
    private static let plan = World.plan(more: "reads: {from: standby}")
        .replacing(
            "migrations: migrations",
            with: "migrations: migrations\n  standby: {url: env:STANDBY_URL}")

    @Test func whoeverWatchesSeesThatTheStandbyIsLostAndThatItIsBack() async throws {
        let world = try await World()
        world.worker.hang(.migrate)
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(
                world.startRequest(plan: Self.plan), by: ada
            ).summary.run
            _ = try await coordinator.wait(for: run) { $0.database == "migrate the schema" }
            world.worker.see(.silent("the standby does not answer"))
            _ = try await coordinator.wait(for: run) {
                $0.reason?.contains("does not answer; reads are held") == true
                    && $0.advice?.contains("start the standby") == true
            }
            world.worker.see(.frozen)
            _ = try await coordinator.wait(for: run) { $0.reason == nil }
            world.worker.end(.migrate)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .done)
    }

    @Test func aBudgetThatIsSpentEndsWhatIsAtWork() async throws {
        let world = try await World()
        world.worker.hang(.migrate)
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(
                world.startRequest(plan: Self.plan), by: ada
            ).summary.run
            _ = try await coordinator.wait(for: run) { $0.database == "migrate the schema" }
            world.worker.see(
                .trouble(DatabaseFailure(code: "wal-budget", "the log costs too much")))
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .rolledBack)
        #expect(view.reason == "the log costs too much")
        #expect(world.worker.cancelled.first?.kind == .migrate)
        #expect(!world.worker.kinds.contains(.promoteStandby), "it took no effect")
    }
}
