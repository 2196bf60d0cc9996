// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Synchronization
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// The node's layout and what a flip of `current` does, with a real nginx.
@Suite(.timeLimit(.minutes(5)))
struct FlipTests {
    @Test func aFlipUnderLoadFailsNoRequestAndNothingOfTheOldReleaseIsServedAfterIt() async throws {
        let node = try await GateNode(workers: 2)
        let gate = try node.gate()
        let second = try node.release("2-v2", name: "v2")
        let client = node.client
        let load = Load()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for reader in 0..<8 {
                group.addTask {
                    while !load.isDone {
                        let response =
                            reader % 4 == 0
                            ? try await client.post("/entries")
                            : try await client.get("/page/\(reader)")
                        load.count("\(response.status) \(response.body)")
                    }
                }
            }
            for turn in 0..<40 {
                try node.flip(to: turn % 2 == 0 ? "2-v2" : "1-v1")
                let expected = turn % 2 == 0 ? "v2" : "v1"
                // Whoever asks after the flip sees the release that is current.
                let response = try await client.post("/check")
                #expect(response.body == expected)
                #expect(try await client.get("/fresh/\(turn)").body == expected)
            }
            load.end()
            try await group.waitForAll()
        }
        let seen = load.answers
        #expect(Set(seen.keys).isSubset(of: ["200 v1", "200 v2"]), "\(seen)")
        #expect((seen["200 v1"] ?? 0) > 0 && (seen["200 v2"] ?? 0) > 0)
        #expect(!second.requests.isEmpty)
        gate.stop()
    }

    @Test func aFlipIsANewGenerationOfTheCacheAtOnce() async throws {
        let node = try await GateNode()
        let second = try node.release("2-v2", name: "v2")
        #expect(try await node.client.get("/page").body == "v1")
        let hit = try await node.client.get("/page")
        #expect(hit.body == "v1" && hit.headers["x-cache"] == "HIT")
        try node.flip(to: "2-v2")
        let miss = try await node.client.get("/page")
        #expect(miss.body == "v2" && miss.headers["x-cache"] == "MISS")
        #expect(try await node.client.get("/page").headers["x-cache"] == "HIT")
        #expect(second.requests.count == 1)
        // The same release again, as another activation: nothing that was stored before is used.
        let third = try node.release("3-v1", name: "v1 again")
        try node.flip(to: "3-v1")
        #expect(try await node.client.get("/page").body == "v1 again")
        #expect(third.requests.count == 1)
    }

    @Test func staticFilesAreThoseOfTheCurrentReleaseAndOldAssetsStay() async throws {
        let node = try await GateNode()
        let second = try node.release("2-v2", name: "v2")
        try node.directory.write("one", to: "app/activations/1-v1/files/static/site.txt")
        try node.directory.write("two", to: "app/activations/2-v2/files/static/site.txt")
        try node.directory.write("old", to: "app/assets/app.1111.js")
        try node.directory.write("new", to: "app/assets/app.2222.js")
        #expect(try await node.client.get("/static/site.txt").body == "one")
        try node.flip(to: "2-v2")
        #expect(try await node.client.get("/static/site.txt").body == "two")
        #expect(try await node.client.get("/assets/app.1111.js").body == "old")
        #expect(try await node.client.get("/assets/app.2222.js").body == "new")
        #expect(second.requests.isEmpty)
    }

    @Test func withReadsHeldAFlipIsSlowAndNeverMixed() async throws {
        let node = try await GateNode()
        let gate = try node.gate(.holdAll)
        let second = try node.release("2-v2", name: "v2")
        let reads = try (0..<20).map { try node.client.start("GET", "/page/\($0)") }
        let write = try node.client.start("POST", "/entries", body: "x")
        #expect(
            await eventually { gate.observe().readsHeld == 20 && gate.observe().writesHeld == 1 })
        try node.flip(to: "2-v2")
        try gate.set(.hold())
        for read in reads { #expect(try read.response().body == "v2") }
        try gate.set(.open)
        #expect(try write.response().body == "v2")
        #expect(node.application.requests.isEmpty)
        #expect(second.requests.count == 21)
    }

    /// The hazard that the snippets warn of; it fails when nginx stops behaving so.
    @Test func openFileCacheGoesOnServingTheOldRelease() async throws {
        let node = try await GateNode(edit: {
            $0.replacingOccurrences(
                of: "    open_file_cache off;\n\n    # Old and new",
                with:
                    "    open_file_cache max=100; open_file_cache_valid 600s; open_file_cache_errors on;\n\n    # Old and new"
            )
        })
        let second = try node.release("2-v2", name: "v2")
        try node.directory.write("one", to: "app/activations/1-v1/files/static/site.txt")
        try node.directory.write("two", to: "app/activations/2-v2/files/static/site.txt")
        #expect(try await node.client.get("/static/site.txt").body == "one")
        try node.flip(to: "2-v2")
        #expect(try await node.client.get("/static/site.txt").body == "one")
        // What is looked up by name at each request is not cached: pages and their generation.
        #expect(try await node.client.get("/page").body == "v2")
        #expect(second.requests.count == 1)
        // And the flags are read afresh, because the snippet says so where it looks at them.
        #expect(try await node.client.get("/_sluice/health").status == 200)
        #expect(try await node.client.post("/entries").status == 200)
        for flag in ["out-of-service", "read-only", "hold-reads"] {
            try node.directory.write("", to: "run/\(flag)")
        }
        #expect(try await node.client.get("/_sluice/health").status == 503)
        #expect(try await node.client.post("/entries").status == 503)
        #expect(try await node.client.get("/page").status == 503)
    }

    @Test func anApplicationThatIsNotThereIs502AndComesBackByItself() async throws {
        let node = try await GateNode()
        try FileManager.default.createDirectory(
            atPath: node.directory.path + "/app/activations/2-v2", withIntermediateDirectories: true
        )
        try node.flip(to: "2-v2")
        #expect(try await node.client.post("/entries").status == 502)
        #expect(try await node.client.get("/page").status == 502)
        try node.flip(to: "1-v1")
        #expect(try await node.client.get("/page").status == 200)
        #expect(try await node.client.post("/entries").status == 200)
    }
}

/// What readers and writers saw while they ran.
final class Load: Sendable {
    private let state = Mutex<(isDone: Bool, answers: [String: Int])>((false, [:]))

    var isDone: Bool { state.withLock { $0.isDone } }
    var answers: [String: Int] { state.withLock { $0.answers } }
    func end() { state.withLock { $0.isDone = true } }
    func count(_ answer: String) { state.withLock { $0.answers[answer, default: 0] += 1 } }
}
