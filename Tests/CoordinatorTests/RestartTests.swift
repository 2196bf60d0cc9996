// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import Coordinator
import RunStore
import StoreTestSupport
import Testing
import UpgradeModel

@Suite struct RestartTests {
    @Test
    func endsTheRunFromEveryVersionOfItsJournal() async throws {
        let original = try await World()
        let run = try await original.withCoordinator { coordinator in
            let run = try await coordinator.start(original.startRequest(), by: ada).summary.run
            _ = try await coordinator.waitForEnd(of: run)
            return run
        }
        let events = try await original.store.events(of: run, after: 0, limit: 10_000)
        #expect(events.count > 30)
        for version in 1..<events.count {
            let world = try await World()
            try await world.replay(events.prefix(version))
            let view = try await world.withCoordinator { try await $0.waitForEnd(of: run) }
            #expect(view.summary.state == .done, "from version \(version)")
            let stored = try await world.store.events(of: run, after: 0, limit: 10_000)
            #expect(Array(stored.prefix(version)) == Array(events.prefix(version)))
            #expect(stored.dropFirst(version).allSatisfy { $0.epoch == Epoch(rawValue: 2) })
            #expect(stored.map(\.at) == stored.map(\.at).sorted())
        }
    }

    @Test(arguments: [StoreFailure.io("fsync"), .full("no space left")])
    func afterItsStoreFailedAtAnyAppendHasToldNothingThatIsNotStoredAndEndsTheRun(
        _ failure: StoreFailure
    ) async throws {
        var failedAppends = 0
        for count in 0..<200 {
            var world = try await World()
            world.journal = FailingJournal(world.store, afterAppends: count, failure)
            let failing = world
            let (fault, told) = try await failing.runUntilFault()
            guard let fault else {
                #expect(count > 10)
                break
            }
            failedAppends += 1
            #expect(fault == .notStored(failure))
            world.journal = world.store
            try await world.checkStored(told)
            guard let run = try await world.store.runs(limit: 1).first?.run else { continue }
            let view = try await world.withCoordinator { try await $0.waitForEnd(of: run) }
            #expect(view.summary.state == .done, "after \(count) appends")
        }
        #expect(failedAppends > 10)
    }

    @Test
    func goesOnWithALaterEpoch() async throws {
        let world = try await World()
        let first = try await world.withCoordinator { $0.epoch }
        let second = try await world.withCoordinator { $0.epoch }
        #expect(second == first.next)
    }

    @Test
    func doesNotStartWhileAnotherLeadsAndSaysWhoDoes() async throws {
        let world = try await World()
        let leader = try await world.lead()
        await #expect(throws: CoordinatorFault.notStarted(.leaderHeld(by: "test"))) {
            _ = try await world.lead()
        }
        #expect(leader.epoch == Epoch(rawValue: 1))
    }

    @Test
    func doesNotStartOnEventsThatItDoesNotUnderstandAndNamesTheRun() async throws {
        let world = try await World()
        let lease = InMemoryLeaderLease(world.store)
        let epoch = try await lease.acquire(holder: "other")
        let run = RunIdentifier(unchecked: "run-1")
        try await world.store.append(
            JournalAppend(
                run: run, expectedVersion: 0, epoch: epoch, at: Instant(milliseconds: 1),
                bodies: [Array(#"{"type":"invented","version":1}"#.utf8)],
                claim: .take(FleetName(unchecked: "web"))))
        await lease.release()
        do {
            _ = try await world.lead()
            Issue.record("it started")
        } catch CoordinatorFault.unreadable(run, _) {
        } catch {
            Issue.record("\(error)")
        }
    }
}

extension World {
    /// Stores events as an earlier leader would have.
    fileprivate func replay(_ events: ArraySlice<StoredEvent>) async throws {
        let lease = InMemoryLeaderLease(store)
        let epoch = try await lease.acquire(holder: "earlier")
        for event in events {
            try await store.append(
                JournalAppend(
                    run: event.run, expectedVersion: event.version - 1, epoch: epoch, at: event.at,
                    bodies: [event.body],
                    claim: event.version == 1 ? .take(FleetName(unchecked: "guestbook")) : nil))
        }
        // Migrations are blobs; the world that the events came from has them.
        try await keepMigrations(startRequest().migrations)
        await lease.release()
    }

    private func keepMigrations(_ files: [MigrationFile]) async throws {
        for file in files {
            let bytes = Array(file.text.utf8)
            let receiver = try await blobs.receive(.sha256(of: bytes), limit: Int64(bytes.count))
            try await receiver.write(bytes)
            try await receiver.finish()
        }
    }

    /// Runs a coordinator whose store fails, and what every agent was told until then.
    fileprivate func runUntilFault() async throws -> (CoordinatorFault?, [Directive]) {
        let coordinator = try await lead()
        return await withTaskGroup(of: (CoordinatorFault?, [Directive]).self) { group in
            for node in nodeNames {
                group.addTask {
                    var agent = FakeAgent(node, serves: oldRelease)
                    await agent.serve(coordinator)
                    return (nil, agent.told)
                }
            }
            group.addTask {
                do {
                    try await coordinator.run()
                    return (nil, [])
                } catch {
                    return (error as? CoordinatorFault, [])
                }
            }
            group.addTask {
                guard let run = try? await coordinator.start(startRequest(), by: ada).summary.run,
                    await coordinator.hasEnded(run)
                else { return (nil, []) }
                return (.notStarted(.notFound("the end")), [])
            }
            var fault: CoordinatorFault?
            var told: [Directive] = []
            for await (found, directives) in group {
                told += directives
                if case .notStarted = found { group.cancelAll() } else { fault = fault ?? found }
            }
            return (fault, told)
        }
    }

    /// Folds what is stored, and holds every directive that was told against the facts that it needs.
    fileprivate func checkStored(_ told: [Directive]) async throws {
        let runs = Set(try await store.runs(limit: 10).map(\.run))
        #expect(told.compactMap(\.run).allSatisfy(runs.contains))
        var stored = ""
        for run in runs {
            for event in try await store.events(of: run, after: 0, limit: 10_000) {
                stored += String(decoding: event.body, as: UTF8.self) + "\n"
            }
        }
        for directive in told {
            if directive.stage != nil { #expect(stored.contains(#""step":"nodes:staged""#)) }
            if !directive.writes.isOpen { #expect(stored.contains(#""step":"nodes:closed""#)) }
            if directive.lease.onExpiry == .keep {
                #expect(stored.contains(#""step":"database:raiseFence""#))
            }
            if directive.active != nil { #expect(stored.contains(#""step":"nodes:upgraded:0""#)) }
        }
        for task in worker.tasks {
            #expect(
                stored.contains(#""kind":"\#(task.kind.rawValue)","type":"database-task-started""#))
        }
    }
}

extension RunCoordinator {
    /// Watches a run; `false` when the coordinator ends first.
    fileprivate func hasEnded(_ run: RunIdentifier) async -> Bool {
        for await _ in changes(of: run) {
            if (try? await view(of: run))?.summary.state.isEnded == true { return true }
        }
        return false
    }
}
