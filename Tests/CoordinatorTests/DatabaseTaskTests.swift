// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import RunStore
import StoreTestSupport
import Testing
import UpgradeEngine
import UpgradeModel

@testable import Coordinator

@Suite struct DatabaseTaskTests {
    @Test
    func stopsADatabaseTaskThatIsNotWantedAnyMore() async throws {
        let world = try await World()
        world.worker.hang(.migrate)
        let view = try await world.rollBack { $0.database == "migrate the schema" }
        #expect(view.summary.state == .rolledBack)
        #expect(world.worker.kinds.contains(.revertMigrate))
    }

    @Test
    func aTaskThatDoesNotEndWhenToldToLosesItsSessionAndTheRunGoesBack() async throws {
        var world = try await World()
        let deaf = FakeDatabaseWorker()
        deaf.hang(.migrate)
        deaf.turnDeaf()
        world.firstWorkers = [deaf]
        let view = try await world.rollBack { $0.database == "migrate the schema" }
        #expect(view.summary.state == .rolledBack)
        #expect(deaf.kinds.last == .migrate)
        #expect(deaf.isClosed)
        #expect(world.worker.kinds == [.revertMigrate, .lowerFence, .revertExpand])
        #expect(world.worker.isClosed)
    }

    /// Whoever watches sees it as it changes, and nothing of it once the migration has ended.
    @Test
    func showsWhomAMigrationWaitsForWhileItWaits() async throws {
        let world = try await World()
        world.worker.hang(.migrate)
        world.worker.wait(for: ["the migration waits for role ada"])
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            _ = try await coordinator.wait(for: run) {
                $0.database == "migrate the schema"
                    && $0.waits == ["the migration waits for role ada"]
            }
            world.worker.wait(for: [])
            _ = try await coordinator.wait(for: run) { $0.waits == nil }
            world.worker.wait(for: ["the migration waits for role grace"])
            _ = try await coordinator.wait(for: run) { $0.waits?.count == 1 }
            world.worker.end(.migrate)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .done)
        #expect(view.waits == nil)
    }

    @Test
    func showsHowFarAMigrationHasComeWhileItIsAtWork() async throws {
        let world = try await World()
        world.worker.hang(.expand)
        world.worker.come(so: "0001_a.up.sql:2: 12 rows in 3 batches")
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            _ = try await coordinator.wait(for: run) {
                $0.database?.hasSuffix(", 0001_a.up.sql:2: 12 rows in 3 batches") == true
            }
            world.worker.end(.expand)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .done)
        #expect(view.database?.contains("batches") != true)
    }

    @Test
    func hasNotBegunATaskThatWasCancelledBeforeItsSessionWasThere() async throws {
        var world = try await World()
        // A worker is made when the migrations have been read.
        let blobs = GatedBlobs(world.blobs, gated: .sha256(of: "SELECT 1;"))
        world.blobStore = blobs
        // Longer than the test: the task is not given up on.
        world.cancelInterval = .seconds(60)
        let view = try await world.rollBack(onceCancelled: { blobs.open() }) {
            $0.database == "look over the database"
        }
        #expect(view.summary.state == .refused)
        #expect(world.worker.tasks.isEmpty)
    }

    @Test
    func aSessionThatIsMadeForATaskThatWasGivenUpOnIsClosed() async throws {
        var world = try await World()
        let workers = (0..<3).map { _ in FakeDatabaseWorker() }
        workers[0].hang(.expand)
        workers[0].turnDeaf()
        world.firstWorkers = workers
        let blobs = GatedBlobs(world.blobs, gated: .sha256(of: "SELECT 1;"))
        blobs.open()
        world.blobStore = blobs
        let gated = world
        let view = try await gated.withCoordinator { coordinator in
            let plan = World.plan(more: "on_failure: pause")
            let run = try await coordinator.start(gated.startRequest(plan: plan), by: ada)
                .summary.run
            _ = try await coordinator.wait(for: run) {
                $0.database == "apply the expand migrations"
            }
            // Two sessions are made at a time: one for a task that was given up on, one for that which follows it.
            for number in 1...2 {
                let abort = RunRequest(request: "a\(number)", verb: .abort)
                _ = try await coordinator.request(abort, of: run, by: ada)
                _ = try await coordinator.wait(for: run) {
                    $0.summary.state == .waiting && $0.database == nil
                }
                blobs.close()
                let retry = RunRequest(request: "r\(number)", verb: .retry)
                _ = try await coordinator.request(retry, of: run, by: ada)
                try await coordinator.wait { _ in blobs.waiting == number }
            }
            blobs.open()
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .done)
        #expect(workers.map(\.isClosed) == [true, true, true])
    }

    @Test
    func tellsNoTaskToEndThatFollowsTheOneThatWasMeant() async throws {
        let world = try await World()
        world.worker.hang(.migrate)
        world.worker.hang(.revertMigrate)
        world.worker.holdCancellations()
        let view = try await world.rollBack(onceCancelled: {
            // The task has ended by itself while the word to end it is still on its way.
            await world.worker.waitForCancellation()
            world.worker.end(.migrate)
            await world.worker.waitForTask(.revertMigrate)
            world.worker.passCancellations()
            // Ten intervals in which a coordinator that went on would tell again.
            try? await Task.sleep(for: world.cancelInterval * 10)
            world.worker.end(.revertMigrate)
        }) { $0.database == "migrate the schema" }
        #expect(view.summary.state == .rolledBack)
        #expect(world.worker.cancelled.map(\.kind) == [.migrate])
        #expect(world.worker.tasks.filter { $0.kind == .revertMigrate }.map(\.attempt) == [1])
    }

    @Test
    func beginsTheTaskThatIsWantedWhenAnotherEndsWhoseEndWasKnownAlready() async throws {
        let world = try await World()
        world.worker.hang(.migrate)
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            _ = try await coordinator.wait(for: run) { $0.database == "migrate the schema" }
            let task = try #require(await coordinator.slots[run]?[nil]?.task)
            let failure = DatabaseFailure(code: "lost", "its end was not heard")
            await coordinator.enqueue(.databaseEnded(run, task, .failed(failure)))
            _ = try await coordinator.wait(for: run) { $0.database == "undo the migration" }
            // Nothing but the end of the task makes the coordinator look again.
            try await coordinator.wait { $0.isQuiet }
            #expect(!world.worker.kinds.contains(.revertMigrate))
            world.worker.end(.migrate)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .rolledBack)
        #expect(world.worker.kinds.contains(.revertMigrate))
    }

    @Test
    func goesBackWhenATaskIsWantedAndNoLongerWantedWithinOneTurn() async throws {
        var world = try await World()
        let journal = GatedJournal(world.store)
        world.journal = journal
        let gated = world
        let view = try await gated.withCoordinator(agents: []) { coordinator in
            let run = try await coordinator.start(gated.startRequest(), by: ada).summary.run
            var agents = nodeNames.map { FakeAgent($0, serves: gated.oldRelease) }
            for index in agents.indices {
                let query = DirectiveQuery(epoch: .zero, revision: 0, wait: .zero)
                agents[index].take(
                    try #require(
                        try await coordinator.directive(for: agents[index].name, query)))
            }
            for index in [0, 1] {
                _ = try await coordinator.report(agents[index].status(), from: agents[index].name)
            }
            // While a pause and its end are being stored, what completes the step and the abort come in together.
            journal.close()
            async let paused = coordinator.request(
                RunRequest(request: "r1", verb: .pause), of: run, by: ada)
            await journal.waitForAppend()
            let last = agents[2].status()
            async let resumed = coordinator.request(
                RunRequest(request: "r2", verb: .resume), of: run, by: ada)
            async let reported = coordinator.report(last, from: agents[2].name)
            try await coordinator.wait { $0.pending.count == 2 }
            async let aborted = coordinator.request(
                RunRequest(request: "r3", verb: .abort), of: run, by: ada)
            try await coordinator.wait { $0.pending.count == 3 }
            journal.open()
            _ = try await (paused, resumed, reported, aborted)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .refused)
    }
}

extension World {
    /// Starts a run, and rolls it back once it is as wanted.
    ///
    /// - Parameter onceCancelled: what happens when the rollback has been accepted.
    fileprivate func rollBack(
        onceCancelled: @escaping @Sendable () async -> Void = {},
        when isWanted: @escaping @Sendable (RunView) -> Bool
    ) async throws -> RunView {
        try await withCoordinator { coordinator in
            let run = try await coordinator.start(startRequest(), by: ada).summary.run
            _ = try await coordinator.wait(for: run, until: isWanted)
            let request = RunRequest(request: "r1", verb: .rollback, reason: "enough")
            _ = try await coordinator.request(request, of: run, by: ada)
            await onceCancelled()
            return try await coordinator.waitForEnd(of: run)
        }
    }
}

extension RunCoordinator {
    /// Whether everything heard is taken in, and every node has reported under its latest directive.
    fileprivate var isQuiet: Bool {
        pending.isEmpty
            && published.directives.allSatisfy { node, directive in
                published.statuses[node]?.status.revision == directive.revision
            }
    }

    /// Returns when the coordinator is as wanted; fails after half a minute.
    fileprivate func wait(
        until isWanted: @Sendable (isolated RunCoordinator) -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while !isWanted(self) {
            try #require(ContinuousClock.now < deadline, "\(pending.count) inputs wait")
            try await Task.sleep(for: .milliseconds(1))
        }
    }
}
