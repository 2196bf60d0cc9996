// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel
import WriteGate

@Suite(.timeLimit(.minutes(5)))
struct HoldTests {
    @Test func aWriteHeldPastItsTimeIsAnswered503WithRetryAfterAndNeverReachesTheApplication()
        async throws
    {
        let node = try await GateNode()
        let gate = try node.gate(.hold(for: .milliseconds(200)))
        let response = try await node.client.post("/entries")
        #expect(response.status == 503)
        #expect(response.headers["retry-after"] == "7")
        #expect(response.headers["x-sluice-refused"] == "hold-expired")
        #expect(response.headers["cache-control"] == "no-store")
        #expect(gate.observe().totals.writesRefused.expired == 1)
        try gate.set(.open)
        #expect(try await node.client.get("/").status == 200)
        #expect(node.application.writes.isEmpty)
    }

    @Test func theConfiguredLongestHoldCapsTheOneAskedFor() async throws {
        let node = try await GateNode()
        let gate = try node.gate(.hold(for: .minutes(50)), longestHold: .milliseconds(200))
        let response = try await node.client.post("/entries")
        #expect(response.headers["x-sluice-refused"] == "hold-expired")
        gate.stop()
    }

    @Test func oneWriteMoreThanAllowedIsRefusedAtOnce() async throws {
        let node = try await GateNode()
        let gate = try node.gate(.hold(3))
        let held = try (0..<3).map { try node.client.start("POST", "/entries/\($0)", body: "x") }
        #expect(await eventually { gate.observe().writesHeld == 3 })
        let response = try await node.client.post("/entries/3")
        #expect(response.status == 503)
        #expect(response.headers["x-sluice-refused"] == "hold-full")
        #expect(response.headers["retry-after"] == "7")
        try gate.set(.open)
        for request in held { #expect(try request.response().status == 200) }
        #expect(node.application.writes.count == 3)
    }

    @Test func heldWritesReachTheApplicationInTheOrderOfTheirArrival() async throws {
        let node = try await GateNode()
        let gate = try node.gate(.hold())
        var held: [StartedRequest] = []
        for turn in 0..<40 {
            held.append(try node.client.start("POST", "/entries/\(turn)", body: "x"))
            #expect(await eventually { gate.observe().writesHeld == turn + 1 })
        }
        try gate.set(.open)
        for request in held { #expect(try request.response().status == 200) }
        #expect(node.application.writes.map(\.target) == (0..<40).map { "/entries/\($0)" })
    }

    @Test func heldWritesAreRefusedWhenTheGateIsSetToRefuse() async throws {
        let node = try await GateNode()
        let gate = try node.gate(.hold())
        let held = try node.client.start("POST", "/entries", body: "x")
        #expect(await eventually { gate.observe().writesHeld == 1 })
        try gate.set(.refuse)
        #expect(try held.response().status == 503)
        #expect(gate.observe().writesHeld == 0)
        #expect(node.application.requests.isEmpty)
    }

    @Test func readsDoNotNoticeAClosedGate() async throws {
        let node = try await GateNode()
        let gate = try node.gate(.hold())
        let held = try node.client.start("POST", "/entries", body: "x")
        #expect(await eventually { gate.observe().writesHeld == 1 })
        for _ in 0..<20 { #expect(try await node.client.get("/").status == 200) }
        #expect(try await node.client.send("HEAD", "/").status == 200)
        #expect(gate.observe().totals.readsAdmitted == 0)
        held.hangUp()
    }

    @Test func aReadHeldPastItsTimeIsAnswered503() async throws {
        let node = try await GateNode()
        var setting = GateSetting.hold()
        setting.readHold = HoldLimits(
            atMost: 10, duration: .milliseconds(150), retryAfter: .seconds(3))
        let gate = try node.gate(setting)
        let response = try await node.client.get("/page")
        #expect(response.status == 503)
        #expect(response.headers["retry-after"] == "3")
        #expect(response.body.contains("This page cannot be shown for the moment"))
        gate.stop()
        #expect(node.application.requests.isEmpty)
    }

    /// What the kernel lets a socket's buffer be.
    private static let largestBuffer =
        (try? String(contentsOfFile: "/proc/sys/net/core/rmem_max", encoding: .utf8))
        .flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) } ?? 0

    @Test(.enabled(if: largestBuffer >= 2_000_000), arguments: [200_000, 500_000])
    func aClientThatLeavesBehindALargeBodyIsForgottenWhereTheSocketHasRoomForIt(size: Int)
        async throws
    {
        let node = try await SiteNode(listen: " rcvbuf=8m")
        let gate = try node.gate(.hold())
        let body = String(repeating: "x", count: size)
        let write = try node.client.start("POST", "/upload", body: body)
        #expect(await eventually { gate.observe().writesHeld == 1 })
        write.hangUp()
        #expect(await eventually { gate.observe().writesHeld == 0 })
        try gate.set(.open)
        #expect(try await node.client.get("/").status == 200)
        #expect(node.application.writes.isEmpty)
    }
}
