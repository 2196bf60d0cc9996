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
