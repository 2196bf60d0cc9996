// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import Coordinator
import Logging
import Releases
import RunStore
import StoreTestSupport
import Synchronization
import Testing
import UpgradeModel
import UpgradePlan

let nodeNames = ["web1", "web2", "web3"].map { NodeName(unchecked: $0) }
let ada = OperatorName(unchecked: "ada")

/// Everything that a coordinator stands on, in memory; outlives the coordinators that use it.
struct World: Sendable {
    let store = InMemoryRunStore()
    let blobs = InMemoryBlobStore(digest: { Digest.sha256(of: $0) })
    let worker = FakeDatabaseWorker()
    /// The database of the first worker that is made, then of the second; `worker` for all that follow.
    var firstWorkers: [FakeDatabaseWorker] = []
    /// The worker of each database, instead of those.
    var workers: [DatabaseName: FakeDatabaseWorker] = [:]
    /// The store, or something in front of it.
    var journal: any Journal
    /// The blobs, or something in front of them.
    var blobStore: any BlobStore
    /// Called when a worker is made.
    var onMakingWorker: @Sendable () -> Void = {}
    var cancelInterval = Duration.milliseconds(5)
    var pruneInterval = Duration.seconds(3600)
    let manifest: BundleManifest
    let oldRelease: ReleaseReference

    init(nodes: [NodeName] = nodeNames) async throws {
        journal = store
        blobStore = blobs
        let file = Array("print('v2')".utf8)
        manifest = try BundleManifest(
            name: ReleaseName(unchecked: "v2"),
            entries: [
                .init(
                    path: try BundlePath("app.py"), digest: .sha256(of: file),
                    size: Int64(file.count))
            ])
        oldRelease = ReleaseReference(
            name: ReleaseName(unchecked: "v1"), manifest: .sha256(of: "v1"))
        try await keep(file)
        try await keep(manifest.encoded)
        for node in nodes { try await addNode(node) }
    }

    func addNode(_ node: NodeName) async throws {
        try await store.addToken(
            hash: .sha256(of: "\(node)"), for: .node(node), labels: ["role": "web"],
            at: Instant(milliseconds: 0))
    }

    func keep(_ bytes: [UInt8]) async throws {
        let receiver = try await blobs.receive(.sha256(of: bytes), limit: Int64(bytes.count))
        try await receiver.write(bytes)
        try await receiver.finish()
    }

    /// Takes the lead.
    func lead() async throws -> RunCoordinator {
        let worker = worker
        let next = Mutex(firstWorkers)
        let onMakingWorker = onMakingWorker
        let workers = workers
        return try await RunCoordinator.lead(
            RunCoordinator.Ports(
                journal: journal, lease: InMemoryLeaderLease(store), blobs: blobStore,
                registry: store,
                makeWorker: { assignment throws(DatabaseFailure) in
                    onMakingWorker()
                    if let known = workers[assignment.database.name] { return known }
                    return next.withLock { $0.isEmpty ? worker : $0.removeFirst() }
                }, cancelInterval: cancelInterval, pruneInterval: pruneInterval,
                waitInterval: .milliseconds(5), standbyInterval: .milliseconds(5)), holder: "test",
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func startRequest(
        _ request: String = "request-1", plan: String = World.plan()
    ) -> StartRun {
        StartRun(
            request: request, plan: plan, planFile: "plan.yaml",
            manifest: manifest.reference.manifest,
            migrations: [MigrationFile(name: "0001_split.up.sql", text: "SELECT 1;")])
    }

    static func plan(fleet: String = "guestbook", more: String = "") -> String {
        """
        fleet: \(fleet)
        nodes:
          labels: {role: web}
        release:
          name: v2
          expected: v1
          bundle: bundle
        database:
          url: env:DATABASE_URL
          migrations: migrations
        rollout:
          health: {check: page}
          warm: [start]
          caches: [pages]
          retire: [stop]
        \(more)
        """
    }

    /// Runs a coordinator and agents until the work has been done, then ends them.
    func withCoordinator<Value: Sendable>(
        agents nodes: [NodeName] = nodeNames,
        _ work: @escaping @Sendable (RunCoordinator) async throws -> Value
    ) async throws -> Value {
        let coordinator = try await lead()
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                try await coordinator.run()
                return nil
            }
            for node in nodes {
                group.addTask {
                    var agent = FakeAgent(node, serves: oldRelease)
                    await agent.serve(coordinator)
                    return nil
                }
            }
            group.addTask { try await work(coordinator) }
            while let ended = try await group.next() {
                guard let value = ended else { continue }
                group.cancelAll()
                try await group.waitForAll()
                return value
            }
            throw Ended()
        }
    }

    struct Ended: Error {}
}

extension RunCoordinator {
    /// Waits until a run is as wanted; fails after half a minute.
    func wait(
        for run: RunIdentifier, until isWanted: @escaping @Sendable (RunView) -> Bool
    ) async throws -> RunView {
        try await withThrowingTaskGroup(of: RunView?.self) { group in
            group.addTask {
                for await _ in self.changes(of: run) {
                    let view = try await self.view(of: run)
                    if isWanted(view) { return view }
                }
                return nil
            }
            group.addTask {
                try await Task.sleep(for: .seconds(30))
                return nil
            }
            let first = try await group.next() ?? nil
            group.cancelAll()
            return try #require(first, "run \(run) did not come to what was waited for")
        }
    }

    func waitForEnd(of run: RunIdentifier) async throws -> RunView {
        try await wait(for: run) { $0.summary.state.isEnded }
    }
}
