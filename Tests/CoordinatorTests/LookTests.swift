// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import RunStore
import StoreTestSupport
import Testing
import UpgradeModel

@Suite struct LookTests {
    private static func question() -> DatabaseQuestion {
        DatabaseQuestion(plan: World.plan(), planFile: "plan.yaml", migrations: [])
    }

    @Test
    func saysWhatPreflightWouldSayBeginsNoRunAndLetsItsConnectionGo() async throws {
        let world = try await World()
        world.worker.fail(.preflight)
        try await world.withCoordinator(agents: []) { coordinator in
            let found = try await coordinator.databaseFindings(Self.question()).findings
            #expect(found.map(\.code) == ["sql"])
            #expect(found.map(\.severity) == [.error])
            #expect(world.worker.isClosed)
            #expect(try await world.store.runs(limit: 9).isEmpty)
        }
    }

    @Test
    func isRefusedToAThirdAtOnceWhoMayAskAgainOnceAnotherHasEnded() async throws {
        let world = try await World()
        world.worker.hang(.preflight)
        try await world.withCoordinator(agents: []) { coordinator in
            async let first = coordinator.databaseFindings(Self.question())
            async let second = coordinator.databaseFindings(Self.question())
            while world.worker.tasks.count < 2 { await Task.yield() }
            await #expect(throws: APIError.self) {
                try await coordinator.databaseFindings(Self.question())
            }
            world.worker.end(.preflight)
            _ = try await (first, second)
            #expect(try await coordinator.databaseFindings(Self.question()).findings.isEmpty)
        }
    }
}
