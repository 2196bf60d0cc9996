// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Synchronization
import Testing
import UpgradeEngine
import UpgradeModel

@testable import Coordinator

@Suite struct WaysOutTests {
    /// Files of another text are read anew: the worker that has read the old ones is let go.
    @Test func aDownFileThatIsBroughtIsReadKeptAndUsed() async throws {
        var world = try await World()
        let stuck = FakeDatabaseWorker()
        stuck.hang(.migrate)
        stuck.fail(.revertMigrate)
        world.firstWorkers = [stuck]
        let view = try await world.withCoordinator { [world] coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            _ = try await coordinator.wait(for: run) { $0.database == "migrate the schema" }
            _ = try await coordinator.request(
                RunRequest(request: "r1", verb: .rollback), of: run, by: ada)
            _ = try await coordinator.wait(for: run) { $0.summary.state == .waiting }
            for (index, file) in [
                MigrationFile(name: "0001_split.down.sql", text: "SELEC 1;"),
                MigrationFile(name: "0009_other.down.sql", text: "SELECT 1;"),
            ].enumerated() {
                let request = RunRequest(request: "bad\(index)", verb: .retry, down: [file])
                await #expect(throws: APIError.self) {
                    try await coordinator.request(request, of: run, by: ada)
                }
            }
            #expect(await coordinator.published.run(run)?.state == .waiting)
            let down = MigrationFile(name: "0001_split.down.sql", text: "SELECT 2;")
            let request = RunRequest(request: "good", verb: .retry, down: [down])
            _ = try await coordinator.request(request, of: run, by: ada)
            let brought = await coordinator.published.run(run)?.migrations.last
            #expect(brought?.name == down.name)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .rolledBack)
        #expect(stuck.isClosed)
        #expect(world.worker.kinds == [.revertMigrate, .lowerFence, .revertExpand])
    }

    @Test func aRequestSaysOneThingAndResolveSaysWhat() async throws {
        let world = try await World()
        try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            for request in [
                RunRequest(request: "a", verb: .resolve),
                RunRequest(
                    request: "b", verb: .resolve,
                    claims: [MigrationClaim(version: "0001", state: .done)], off: nodeNames[0]),
                RunRequest(
                    request: "c", verb: .retry,
                    down: [MigrationFile(name: "0001_split.down.sql", text: "SELECT 1;")],
                    forward: true),
            ] {
                await #expect(throws: APIError.self) {
                    try await coordinator.request(request, of: run, by: ada)
                }
            }
        }
    }
}
