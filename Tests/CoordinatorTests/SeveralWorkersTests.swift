// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Testing
import UpgradeEngine
import UpgradeModel

@testable import Coordinator

/// Each database of a run has a worker of its own, with its own files, and one of them is at work at a time.
@Suite struct SeveralWorkersTests {
    private static let visits = DatabaseName(unchecked: "visits")
    private static let up = "0001_split.up.sql"
    private static let down = "0001_split.down.sql"

    private func world() async throws -> (World, [DatabaseName: FakeDatabaseWorker]) {
        var world = try await World()
        let workers = [
            DatabaseName.default: FakeDatabaseWorker(), Self.visits: FakeDatabaseWorker(),
        ]
        world.workers = workers
        return (world, workers)
    }

    private func request(_ world: World) -> StartRun {
        var request = world.startRequest(
            plan: World.plan(
                more: "databases: {visits: {url: env:VISITS_URL, migrations: visits}}"))
        request.migrations = [
            MigrationFile(name: Self.up, text: "SELECT 1;", database: .default),
            MigrationFile(name: Self.up, text: "SELECT 2;", database: Self.visits),
        ]
        return request
    }

    @Test func eachDatabaseIsAskedByAWorkerOfItsOwn() async throws {
        let (world, workers) = try await world()
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(request(world), by: ada).summary.run
            let view = try await coordinator.waitForEnd(of: run)
            let brought = await coordinator.published.run(run)?.migrations ?? []
            #expect(brought.map(\.database) == [.default, Self.visits])
            #expect(Set(brought.map(\.digest)).count == 2)
            return view
        }
        #expect(view.summary.state == .done)
        for worker in workers.values {
            #expect(
                worker.kinds == [
                    .preflight, .expand, .raiseFence, .census, .migrate, .lowerFence, .contract,
                ])
            #expect(worker.isClosed)
        }
    }

    @Test func aTaskIsEndedInItsOwnDatabaseAndBothAreUndone() async throws {
        let (world, workers) = try await world()
        let visits = try #require(workers[Self.visits])
        visits.hang(.migrate)
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(request(world), by: ada).summary.run
            _ = try await coordinator.wait(for: run) {
                $0.database == "visits: migrate the schema"
            }
            let request = RunRequest(request: "r1", verb: .rollback, reason: "enough")
            _ = try await coordinator.request(request, of: run, by: ada)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .rolledBack)
        #expect(visits.cancelled.map(\.kind) == [.migrate])
        #expect(workers[.default]?.cancelled.isEmpty == true)
        #expect(
            workers[.default]?.kinds.suffix(3) == [.revertMigrate, .lowerFence, .revertExpand])
        #expect(visits.kinds.suffix(3) == [.revertMigrate, .lowerFence, .revertExpand])
    }

    /// The run waits for one of them, and a person who names another is told which.
    @Test func aRequestThatNamesAnotherDatabaseIsRefusedWithTheChoice() async throws {
        let (world, workers) = try await world()
        workers[Self.visits]?.hang(.migrate)
        workers[Self.visits]?.fail(.revertMigrate)
        let messages = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(request(world), by: ada).summary.run
            _ = try await coordinator.wait(for: run) {
                $0.database == "visits: migrate the schema"
            }
            _ = try await coordinator.request(
                RunRequest(request: "r1", verb: .rollback), of: run, by: ada)
            _ = try await coordinator.wait(for: run) { $0.summary.state == .waiting }
            var messages: [String] = []
            for name in ["default", "mail"] {
                var request = RunRequest(
                    request: "to \(name)", verb: .resolve,
                    claims: [MigrationClaim(version: "0001", state: .undone)])
                request.database = DatabaseName(unchecked: name)
                do throws(APIError) {
                    _ = try await coordinator.request(request, of: run, by: ada)
                } catch {
                    messages.append("\(error.message); \(error.advice ?? "")")
                }
            }
            var request = RunRequest(
                request: "good", verb: .retry,
                down: [MigrationFile(name: Self.down, text: "SELECT 3;")])
            request.database = Self.visits
            _ = try await coordinator.request(request, of: run, by: ada)
            let brought = await coordinator.published.run(run)?.migrations.last
            #expect(brought?.name == Self.down && brought?.database == Self.visits)
            return messages
        }
        #expect(
            messages == [
                "the run waits for the database visits, not for default; say `--database visits`, or leave it out",
                "the plan has no database mail; it has default, visits",
            ])
    }

    @Test func filesOfADatabaseThatThePlanDoesNotNameAreRefused() async throws {
        let (world, _) = try await world()
        var request = request(world)
        request.migrations[1].database = nil
        let start = request
        try await world.withCoordinator { coordinator in
            _ = await #expect(throws: APIError.self) {
                try await coordinator.start(start, by: ada)
            }
        }
    }
}
