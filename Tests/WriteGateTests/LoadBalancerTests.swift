// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// The shipped load balancer example in front of two nodes.
@Suite(.timeLimit(.minutes(5)))
struct LoadBalancerTests {
    private let nodes: [GateNode]
    private let balancer: PrivateNginx
    private var client: HTTPClient { balancer.client() }

    /// As an operator without health checks includes it.
    private static let outOfService = "    include ../snippets/sluice-out-of-service.conf;"

    init() async throws {
        func node(_ drop: String) async throws -> GateNode {
            try await GateNode(edit: {
                $0.replacingOccurrences(
                    of: "location /static/ {", with: "\(drop)\n    location /static/ {"
                )
                .replacingOccurrences(
                    of: "/sluice-server.conf;", with: "/sluice-server.conf;\n\(Self.outOfService)")
            })
        }
        // The first node takes a request for /drop or /search and closes the connection without an answer.
        nodes = [
            try await node("location ~ ^/(drop|search) { return 444; }"), try await node(""),
        ]
        let addresses = nodes.map(\.nginx.address)
        let example = try String(
            contentsOfFile: nginxSnippets + "/load-balancer.conf", encoding: .utf8
        )
        .replacingOccurrences(of: "127.0.0.11:80 ", with: "\(addresses[0]):8080 ")
        .replacingOccurrences(of: "127.0.0.12:80 ", with: "\(addresses[1]):8080 ")
        .replacingOccurrences(of: "# \"~^POST /api/search\"", with: "\"~^POST /search\"")
        .replacingOccurrences(
            of: "    server 127.0.0.13:80 max_fails=2 fail_timeout=5s;\n", with: ""
        )
        // Less than these tests hold reads.
        .replacingOccurrences(
            of: "proxy_next_upstream_timeout 29s", with: "proxy_next_upstream_timeout 500ms")
        let address = privateLoopbackAddress()
        balancer = try await PrivateNginx(
            in: nodes[0].directory.path, name: "balancer", address: address,
            http: example.replacingOccurrences(
                of: "listen 127.0.0.1:8080;", with: "listen \(address):8080;"))
    }

    @Test func writesRefusedByEveryNodeDoNotTakeThemOutForReads() async throws {
        let gates = try nodes.map { try $0.gate(.refuse) }
        for method in Array(repeating: ["POST", "PUT", "DELETE"], count: 5).joined() {
            let response = try await client.send(method, "/entries")
            #expect(response.status == 503 && response.headers["retry-after"] == "7")
        }
        for _ in 0..<6 { #expect(try await client.get("/page").status == 200) }
        for gate in gates { try gate.set(.open) }
        for _ in 0..<6 { #expect(try await client.post("/entries").status == 200) }
    }

    @Test func readsOfANodeThatIsOutOfServiceGoToTheNext() async throws {
        let gates = try nodes.map { try $0.gate() }
        try gates[0].setService(.out)
        for turn in 0..<12 { #expect(try await client.get("/page/\(turn)").status == 200) }
        #expect(nodes[0].application.requests.isEmpty)
        #expect(nodes[1].application.requests.count == 12)
        try gates[0].setService(.in)
    }

    /// How a node that was left behind is found to serve again.
    @Test func theAgentsOwnHealthCheckReachesANodeThatIsOutOfService() async throws {
        let gate = try nodes[0].gate(.holdAll)
        try gate.setService(.out)
        #expect(try await nodes[0].client.get("/page").status == 503)
        let pass = gate.makePass()
        let check = try await nodes[0].client.send(
            "GET", "/page", headers: [pass.name: pass.value])
        #expect(check.status == 200)
        try gate.setService(.in)
    }

    @Test func aReadWhoseHoldIsOverIsAnsweredAndNotHeldAgainOnTheNextNode() async throws {
        var setting = GateSetting.hold()
        setting.readHold = HoldLimits(
            atMost: 10, duration: .milliseconds(800), retryAfter: .seconds(3))
        let gates = try nodes.map { try $0.gate(setting) }
        for _ in 0..<6 {
            let response = try await client.get("/page")
            #expect(response.status == 503 && response.headers["retry-after"] == "3")
            #expect(response.headers["x-sluice-refused"] == "hold-expired")
        }
        #expect(gates.map { $0.observe().totals.readsWaited }.reduce(0, +) == 6)
        // Nor has it spoken against a node.
        for gate in gates { try gate.set(.open) }
        for _ in 0..<6 { #expect(try await client.get("/page").status == 200) }
        #expect(nodes.allSatisfy { !$0.application.requests.isEmpty })
    }

    @Test func aReadForWhichNoNodeIsLeftIsAnswered503WithRetryAfter() async throws {
        for node in nodes { node.nginx.stop() }
        for _ in 0..<6 {
            let response = try await client.get("/page")
            #expect(response.status == 503 && response.headers["retry-after"] == "5")
        }
        #expect(try await client.post("/entries").status == 502)
    }

    @Test func aWriteThatANodeMayHaveDoneIsNotSentToAnother() async throws {
        var failed = 0
        for _ in 0..<6 where try await client.post("/drop").status == 502 { failed += 1 }
        #expect(failed > 0)
        #expect(nodes[1].application.writes.count == 6 - failed)
        for _ in 0..<4 { #expect(try await client.get("/drop").status == 200) }
    }

    @Test func aPostThatOnlyReadsGoesToTheNext() async throws {
        for _ in 0..<6 { #expect(try await client.post("/search").status == 200) }
        #expect(
            nodes[1].application.requests.map(\.target) == Array(repeating: "/search", count: 6))
    }

    @Test func aWriteForANodeThatIsGoneGoesToAnotherOnce() async throws {
        nodes[0].nginx.stop()
        for turn in 0..<6 { #expect(try await client.post("/entries/\(turn)").status == 200) }
        #expect(nodes[1].application.writes.map(\.target) == (0..<6).map { "/entries/\($0)" })
    }

    @Test func writesHeldBehindTheLoadBalancerGoThroughOnce() async throws {
        let gates = try nodes.map { try $0.gate(.hold()) }
        let held = try (0..<10).map { try client.start("POST", "/entries/\($0)", body: "x") }
        #expect(await eventually { gates.map { $0.observe().writesHeld }.reduce(0, +) == 10 })
        for _ in 0..<4 { #expect(try await client.get("/page").status == 200) }
        for gate in gates { try gate.set(.open) }
        for write in held { #expect(try write.response().status == 200) }
        let targets = nodes.flatMap { $0.application.writes.map(\.target) }
        #expect(targets.sorted() == (0..<10).map { "/entries/\($0)" }.sorted())
    }
}
