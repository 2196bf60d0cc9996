// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import Dispatch
import FoundationEssentials
import Logging
import Releases
import RunStore
import StoreTestSupport
import Synchronization
import Testing
import UpgradeEngine
import UpgradeModel

@testable import Coordinator

@Suite struct HouseTests {
    @Test
    func migrationsAreReadWhileTheCoordinatorGoesOnAnswering() async throws {
        var world = try await World()
        let begun = AsyncStream<Void>.makeStream()
        let answered = DispatchSemaphore(value: 0)
        let timedOut = Mutex(false)
        world.onMakingWorker = {
            begun.continuation.yield()
            // As a long parse would: it keeps its thread until the coordinator has answered somebody.
            if answered.wait(timeout: .now() + 20) == .timedOut { timedOut.withLock { $0 = true } }
        }
        let ready = world
        try await ready.withCoordinator { coordinator in
            let run = try await coordinator.start(ready.startRequest(), by: ada).summary.run
            for await _ in begun.stream { break }
            #expect(await coordinator.health.ok)
            answered.signal()
            #expect(try await coordinator.waitForEnd(of: run).summary.state == .done)
        }
        #expect(!timedOut.withLock { $0 })
    }

    @Test
    func blobsOfTheLatestRunsOfEachFleetAreKeptHoweverManyRunsAnotherFleetHasHad() async throws {
        let world = try await World()
        let quiet = try await world.keepRelease("quiet")
        let gone = try await world.keepRelease("gone")
        let lease = InMemoryLeaderLease(world.store)
        let epoch = try await lease.acquire(holder: "earlier")
        try await world.storeRun("quiet-1", fleet: "quiet", quiet, epoch)
        try await world.storeRun("busy-0", fleet: "busy", gone, epoch)
        for number in 1...BlobRetention.runs {
            let busy = world.manifest.reference.manifest
            try await world.storeRun("busy-\(number)", fleet: "busy", busy, epoch)
        }
        world.blobs.letAnHourPass()
        await BlobRetention.apply(
            to: world.blobs, by: world.store,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        #expect(try await world.blobs.size(of: quiet) != nil)
        #expect(try await world.blobs.size(of: gone) == nil)
        #expect(try await world.blobs.size(of: world.manifest.reference.manifest) != nil)
    }

    @Test
    func damageInAnOldRunIsFoundWhileLeadingAndKeepsNoRunFromGoingOn() async throws {
        let world = try await World()
        let old = try await world.withCoordinator { coordinator in
            let first = try await coordinator.start(world.startRequest("A"), by: ada).summary.run
            _ = try await coordinator.waitForEnd(of: first)
            let second = try await coordinator.start(world.startRequest("B"), by: ada).summary.run
            _ = try await coordinator.waitForEnd(of: second)
            return first
        }
        var other = world
        other.journal = DamagedJournal(world.store, of: old)
        let damaged = other
        try await damaged.withCoordinator { coordinator in
            let deadline = ContinuousClock.now + .seconds(20)
            while await coordinator.health.reason == nil, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(5))
            }
            let health = await coordinator.health
            #expect(health.ok)
            #expect(health.reason?.contains("\(old)") == true)
        }
    }
}

extension World {
    /// - Returns: the digest of a manifest of one file.
    fileprivate func keepRelease(_ name: String) async throws -> Digest {
        let bytes = try BundleManifest(
            name: ReleaseName(unchecked: name),
            entries: [.init(path: try BundlePath("x"), digest: .sha256(of: name), size: 1)]
        ).encoded
        let receiver = try await blobs.receive(.sha256(of: bytes), limit: 4096)
        try await receiver.write(bytes)
        try await receiver.finish()
        return .sha256(of: bytes)
    }

    fileprivate func storeRun(
        _ name: String, fleet: String, _ manifest: Digest, _ epoch: Epoch
    ) async throws {
        let run = RunIdentifier(unchecked: name)
        let fleet = FleetName(unchecked: fleet)
        let created = RunCreated(
            run: run, fleet: fleet, plan: World.plan(fleet: fleet.rawValue), planFile: "plan.yaml",
            digest: .sha256(of: name),
            release: ReleaseReference(name: ReleaseName(unchecked: "v2"), manifest: manifest),
            migrations: [], nodes: nodeNames, by: ada, request: name)
        try await store.append(
            JournalAppend(
                run: run, expectedVersion: 0, epoch: epoch, at: Instant(milliseconds: 1),
                bodies: [[UInt8](try JSONEncoder().encode(RunEvent.created(created)))],
                claim: .take(fleet)))
        try await store.append(
            JournalAppend(
                run: run, expectedVersion: 1, epoch: epoch, at: Instant(milliseconds: 1),
                bodies: [], claim: .release(fleet)))
    }
}

/// A journal of which one run cannot be read.
private final class DamagedJournal: Journal {
    private let base: any Journal
    private let damaged: RunIdentifier

    init(_ base: any Journal, of run: RunIdentifier) {
        self.base = base
        damaged = run
    }

    func append(_ appends: [JournalAppend]) async throws(StoreFailure) {
        try await base.append(appends)
    }
    func events(
        of run: RunIdentifier, after version: Int64, limit: Int
    ) async throws(StoreFailure) -> [StoredEvent] {
        if run == damaged { throw .corrupt("run \(run) is damaged") }
        return try await base.events(of: run, after: version, limit: limit)
    }
    func runs(limit: Int) async throws(StoreFailure) -> [RunRecord] {
        try await base.runs(limit: limit)
    }
    func claims() async throws(StoreFailure) -> [FleetClaim] { try await base.claims() }
    func latestInstant() async throws(StoreFailure) -> Instant? { try await base.latestInstant() }
}
