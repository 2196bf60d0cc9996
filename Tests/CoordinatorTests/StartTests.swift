// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import Coordinator
import Releases
import RunStore
import StoreTestSupport
import Testing
import UpgradeModel

@Suite struct StartTests {
    @Test
    func twiceByTheSameRequestIsOneRunByAnotherIsRefusedAndSaysWhoHasTheFleet() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let first = try await coordinator.start(world.startRequest("one"), by: ada)
            let again = try await coordinator.start(world.startRequest("one"), by: ada)
            #expect(again.summary.run == first.summary.run)
            await expect("fleet-held", "\(first.summary.run)") {
                try await coordinator.start(world.startRequest("two"), by: ada)
            }
            #expect(try await world.store.runs(limit: 9).count == 1)
        }
    }

    @Test
    func isRefusedWithEveryDiagnosticOfAPlanThatIsNotOne() async throws {
        try await refused("invalid-plan", "3 errors") {
            $0.plan = "fleet: guestbook\nnodse: {}\n"
        } check: { error in
            #expect(error.diagnostics.contains { $0.position?.line == 2 })
        }
    }

    @Test
    func isRefusedWithoutTheManifestOrWithoutAFileThatItNames() async throws {
        try await refused("refused", "manifest") { $0.manifest = .sha256(of: "another") }
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            world.blobs.letAnHourPass()
            try await world.blobs.prune(keeping: [world.manifest.reference.manifest])
            await expect("refused", "app.py") {
                try await coordinator.start(world.startRequest(), by: ada)
            }
        }
    }

    /// A build whose names do not change with their content is found before anything is fetched, all names at once.
    @Test
    func isRefusedWithAllAssetsThatStandForTwoContents() async throws {
        let world = try await World()
        func release(_ name: String, _ word: String) async throws -> BundleManifest {
            var entries: [BundleManifest.Entry] = []
            for file in ["app.3f786850.css", "app.3f786851.js", "plain.css"] {
                let bytes = Array("\(word) \(file)".utf8)
                try await world.keep(bytes)
                entries.append(
                    .init(
                        path: try BundlePath("static/assets/\(file)"),
                        digest: .sha256(of: bytes), size: Int64(bytes.count)))
            }
            let manifest = try BundleManifest(
                name: ReleaseName(unchecked: name), entries: entries,
                assets: try BundlePath("static/assets"))
            try await world.keep(manifest.encoded)
            return manifest
        }
        let old = try await release("v1", "old")
        let new = try await release("v2", "new")
        try await world.withCoordinator(agents: []) { coordinator in
            var agent = FakeAgent(nodeNames[0], serves: old.reference)
            _ = try await coordinator.report(agent.status(), from: nodeNames[0])
            var request = world.startRequest()
            request.manifest = new.reference.manifest
            let asked = request
            await expect("refused", "2 assets of \(new.reference.identifier)") {
                try await coordinator.start(asked, by: ada)
            }
            // What the coordinator has no manifest of is the node's own to compare.
            var other = FakeAgent(nodeNames[0], serves: world.oldRelease)
            _ = try await coordinator.report(other.status(), from: nodeNames[0])
            _ = try await coordinator.start(asked, by: ada)
        }
    }

    @Test
    func isRefusedWhenTheBundleIsAnotherReleaseThanThePlanSays() async throws {
        try await refused("refused", "the plan says v3") {
            $0.plan = World.plan().split(separator: "\n").map {
                $0 == "  name: v2" ? "  name: v3" : $0
            }
            .joined(separator: "\n")
        }
    }

    @Test
    func isRefusedWithMigrationsWhoseNamesLeadElsewhereAndWithTooMany() async throws {
        try await refused("refused", "unsafe") {
            $0.migrations = [MigrationFile(name: "../../etc/passwd", text: "")]
        }
        try await refused("refused", "at most") {
            $0.migrations = Array(
                repeating: MigrationFile(name: "0001_x.up.sql", text: ""),
                count: Limits.migrations + 1)
        }
    }

    @Test
    func isRefusedWhenTheLabelsSelectNoNode() async throws {
        let world = try await World(nodes: [])
        try await world.withCoordinator(agents: []) { coordinator in
            await expect("no-nodes", "no node") {
                try await coordinator.start(world.startRequest(), by: ada)
            }
        }
    }

    @Test
    func storesTheDigestOfPlanManifestAndMigrationsEachOfThemChangesIt() async throws {
        var digests: Set<String> = []
        for change in 0..<3 {
            let world = try await World()
            try await world.withCoordinator(agents: []) { coordinator in
                var request = world.startRequest()
                if change == 1 { request.plan += "\n# approved\n" }
                if change == 2 { request.migrations[0].text += " " }
                _ = try await coordinator.start(request, by: ada)
            }
            let run = try #require(try await world.store.runs(limit: 1).first).run
            let first = try #require(
                try await world.store.events(of: run, after: 0, limit: 1).first)
            let text = String(decoding: first.body, as: UTF8.self)
            let digest = try #require(
                text.split(separator: #""digest":""#).dropFirst().first?.prefix(64))
            digests.insert(String(digest))
        }
        #expect(digests.count == 3)
    }

    @Test
    func keepsTheBlobsOfRunsOverARestartAndNoOthers() async throws {
        let world = try await World()
        let request = world.startRequest()
        try await world.withCoordinator(agents: []) { coordinator in
            _ = try await coordinator.start(request, by: ada)
            let other = try await world.blobs.receive(.sha256(of: "other"), limit: 5)
            try await other.write(Array("other".utf8))
            try await other.finish()
        }
        world.blobs.letAnHourPass()
        var pruning = world
        pruning.pruneInterval = .milliseconds(5)
        try await pruning.withCoordinator(agents: []) { _ in
            // Thrown away while it leads, not before.
            let other = Digest.sha256(of: "other")
            let deadline = ContinuousClock.now + .seconds(20)
            while try await world.blobs.size(of: other) != nil, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(5))
            }
        }
        let named =
            [world.manifest.reference.manifest] + world.manifest.entries.map(\.digest)
            + request.migrations.map { Digest.sha256(of: $0.text) }
        for digest in named {
            let size = try await world.blobs.size(of: digest)
            #expect(size != nil)
        }
        let other = try await world.blobs.size(of: .sha256(of: "other"))
        #expect(other == nil)
    }

    @Test
    func takesNoStatusBeyondTheLimits() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            var agent = FakeAgent(nodeNames[0], serves: world.oldRelease)
            var status = agent.status()
            status.failures = [
                NodeFailure(goal: .stage, message: String(repeating: "x", count: Limits.text + 1))
            ]
            let long = status
            await expect("too-large", "failure") {
                try await coordinator.report(long, from: nodeNames[0])
            }
            status.failures = Array(
                repeating: NodeFailure(goal: .stage, message: "x"), count: Limits.statusEntries + 1)
            let many = status
            await expect("too-large", "failures") {
                try await coordinator.report(many, from: nodeNames[0])
            }
            let nodes = try await coordinator.nodes()
            #expect(nodes[0].status == nil)
        }
    }

    @Test
    func keepsWhatWasUploadedAgainWithinTheLastHourAlthoughItIsOld() async throws {
        let world = try await World()
        world.blobs.letAnHourPass()
        try await world.withCoordinator(agents: []) { coordinator in
            world.blobs.letAnHourPass()
            _ = try await coordinator.start(world.startRequest(), by: ada)
            try await world.blobs.prune(keeping: [])
            for entry in world.manifest.entries {
                #expect(try await world.blobs.size(of: entry.digest) != nil)
            }
        }
    }

    @Test
    func isRefusedWhileTheDiskHasOnlyTheReserveAndHealthzSaysWhenItIsLow() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            world.blobs.letSpaceBe(DiskSpace(free: 60 << 20, reserve: 64 << 20))
            await expect("full", "60 MiB") {
                try await coordinator.start(world.startRequest(), by: ada)
            }
            #expect(await coordinator.health.ok)
        }
        world.blobs.letSpaceBe(DiskSpace(free: 20 << 20, reserve: 64 << 20))
        try await world.withCoordinator(agents: []) { coordinator in
            let health = await coordinator.health
            #expect(!health.ok)
            #expect(health.reason?.contains("20 MiB") == true)
        }
    }

    private func refused(
        _ code: String, _ words: String, _ change: @escaping @Sendable (inout StartRun) -> Void,
        check: @escaping @Sendable (APIError) -> Void = { _ in }
    ) async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            var request = world.startRequest()
            change(&request)
            let changed = request
            await expect(code, words, check: check) {
                try await coordinator.start(changed, by: ada)
            }
            let runs = try await world.store.runs(limit: 1)
            #expect(runs.isEmpty)
        }
    }

    private func expect(
        _ code: String, _ words: String, check: (APIError) -> Void = { _ in },
        _ work: () async throws -> some Any
    ) async {
        do {
            _ = try await work()
            Issue.record("nothing was refused")
        } catch let error as APIError {
            #expect(error.code == code)
            #expect("\(error)".contains(words))
            check(error)
        } catch {
            Issue.record("\(error)")
        }
    }
}
