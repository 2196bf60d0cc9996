// SPDX-License-Identifier: Apache-2.0

import NginxTestSupport
import Synchronization
import Testing
import TestSupport
import UpgradeModel

@testable import WriteGate

/// A gate that is closed is closed, under load and whatever happens to the agent.
@Suite(.timeLimit(.minutes(5)))
struct ClosedGateTests {
    @Test func onceDrainedNoWriteReachesTheApplicationUntilTheGateOpens() async throws {
        let node = try await GateNode(workers: 2)
        let gate = try node.gate()
        let load = WriteLoad(node.client, writers: 6)
        defer { load.stop() }
        #expect(await eventually { node.application.writes.count > 50 })
        try gate.set(.refuse)
        try #require(await eventually { gate.observe().isDrained })
        let drained = node.application.writes.count
        let refused = load.refused
        try #require(await eventually { load.refused > refused + 100 })
        #expect(node.application.writes.count == drained)
        try gate.set(.open)
        #expect(await eventually { node.application.writes.count > drained + 50 })
        await load.end()
        // What a client was told was done had reached the application, and nothing was done twice.
        #expect(load.done == node.application.writes.count)
        #expect(await eventually { gate.observe().writesInFlight == 0 })
    }

    @Test func killingTheAgentAgainAndAgainWhileClosedLetsNoWriteThrough() async throws {
        let node = try await GateNode(workers: 2)
        var process = try node.process()
        _ = try process.say("refuse")
        let load = WriteLoad(node.client, writers: 6)
        defer { load.stop() }
        for turn in 0..<10 {
            try #require(await eventually { load.refused > turn * 20 })
            process.kill()
            let before = load.refused
            try #require(await eventually { load.refused > before + 10 })
            process = try node.process()
            #expect(process.greeting == "ready refuse")
        }
        #expect(node.application.writes.isEmpty)
        _ = try process.say("open")
        #expect(await eventually { node.application.writes.count > 20 })
        await load.end()
        #expect(load.done == node.application.writes.count)
        #expect(load.other == 0)
        let last = process
        #expect(try await eventually { try last.say("observe") == "observe 0 0 0" })
    }

    /// Every form that this version has stored must be readable for ever.
    @Test(arguments: [
        (
            #"{"message":"","readOnly":false,"readsHeld":false,"retryAfterSeconds":0,"version":1,"reads":{"kind":"pass"},"writes":{"kind":"open"}}"#,
            GateSetting.open
        ),
        (
            #"{"message":"Back at noon.","readOnly":true,"readsHeld":false,"retryAfterSeconds":7,"version":1,"reads":{"kind":"pass"},"writes":{"kind":"refuse","retryAfterMilliseconds":6500}}"#,
            .refuse
        ),
        (
            #"{"message":"","readOnly":true,"readsHeld":true,"retryAfterSeconds":7,"version":1,"reads":{"atMost":100,"forMilliseconds":60000,"kind":"hold","retryAfterMilliseconds":3000},"writes":{"atMost":100,"forMilliseconds":60000,"kind":"hold","retryAfterMilliseconds":7000}}"#,
            .holdAll
        ),
    ])
    func aStoredModeOfVersion1IsRead(text: String, setting: GateSetting) throws {
        let file = try #require(ModeFile.decode(Array(text.utf8)))
        #expect(file.setting == setting)
        #expect(ModeFile(setting) == file)
    }
}

/// Clients that write without a pause, each the next when the last has been answered.
private final class WriteLoad: Sendable {
    private struct Counts {
        var isEnded = false
        var done = 0
        var refused = 0
        var other = 0
    }

    private let counts = Mutex(Counts())
    private let task = Mutex<Task<Void, Never>?>(nil)

    var done: Int { counts.withLock { $0.done } }
    var refused: Int { counts.withLock { $0.refused } }
    var other: Int { counts.withLock { $0.other } }

    init(_ client: HTTPClient, writers: Int) {
        let task = Task {
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<writers { group.addTask { await self.write(client) } }
            }
        }
        self.task.withLock { $0 = task }
    }

    func stop() { counts.withLock { $0.isEnded = true } }

    /// Waits until every client has its last answer.
    func end() async {
        stop()
        await task.withLock { $0 }?.value
    }

    private func write(_ client: HTTPClient) async {
        while !counts.withLock({ $0.isEnded }) {
            let status = (try? await client.post("/entries"))?.status
            counts.withLock { counts in
                switch status {
                case 200: counts.done += 1
                case 503: counts.refused += 1
                default: counts.other += 1
                }
            }
        }
    }
}
