// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// What HAProxy does with the gate besides what every proxy does.
@Suite(.timeLimit(.minutes(5)))
struct HAProxyTests {
    /// Unlike nginx, HAProxy says so when the application has ended and not when the client leaves.
    @Test func theEndOfAWriteWhoseClientLeftIsReportedAndSoAreManyAtOnce() async throws {
        let latch = Latch()
        let node = try await ProxyNode(
            .haproxy,
            reply: { request in
                .init(body: "done", gate: request.target == "/slow" ? latch : nil)
            })
        let gate = try node.gate()
        let left = try node.client.start("POST", "/slow", body: "x")
        #expect(await eventually { gate.observe().writesInFlight == 1 })
        #expect(await eventually { node.application.requests.count == 1 })
        left.hangUp()
        #expect(try await node.client.post("/entries").status == 200)
        #expect(await eventually { gate.observe().totals.completed == 1 })
        #expect(gate.observe().writesInFlight == 1)
        latch.open()
        #expect(await eventually { gate.observe().writesInFlight == 0 })
        let client = node.client
        try await withThrowingTaskGroup(of: Int.self) { group in
            for turn in 0..<200 {
                group.addTask { try await client.post("/entries/\(turn)").status }
            }
            for try await status in group { #expect(status == 200) }
        }
        #expect(gate.observe().totals.admitted == 202)
        #expect(await eventually { gate.observe().totals.completed == 202 })
        #expect(gate.observe().writesInFlight == 0)
        #expect(gate.servers.map(\.name) == ["guestbook"])
    }

    @Test func afterARestartOfTheAgentNoCompletionIsLost() async throws {
        let node = try await ProxyNode(.haproxy)
        for _ in 0..<3 {
            let process = try node.process()
            #expect(try await node.client.post("/entries").status == 200)
            #expect(try await eventually { try process.say("observe") == "observe 0 0 0" })
            process.kill()
        }
    }

    /// Also where a rule of the site would have let the request pass: those of `sluice` are met first.
    @Test func noRuleOfTheSiteTakesAWritePastTheGate() async throws {
        let node = try await ProxyNode(
            .haproxy,
            edit: {
                $0.replacingOccurrences(
                    of: "    option forwardfor\n",
                    with:
                        "    option forwardfor\n    http-request allow\n    http-request return status 200\n"
                )
            })
        let gate = try node.gate(.refuse)
        #expect(try await node.client.post("/entries").status == 503)
        #expect(try await node.probe(gate) == .closed)
        #expect(node.application.requests.isEmpty)
    }

    @Test func aFrontendWithoutTheRulesIsFoundOutByTheProbe() async throws {
        let node = try await ProxyNode(
            .haproxy,
            edit: {
                $0.replacingOccurrences(of: "guestbook from sluice", with: "guestbook from site")
            })
        let gate = try node.gate(.refuse)
        #expect(try await node.probe(gate) == .notAsked(status: 200))
    }

    @Test func anErrorInLuaLetsNothingPass() async throws {
        let node = try await ProxyNode(
            .haproxy,
            edit: {
                $0.replacingOccurrences(
                    of: "local kind = question_about", with: "local kind = nil .. question_about")
            })
        #expect(try await node.client.post("/entries").status == 503)
        #expect(try await node.client.get("/").status == 503)
        #expect(node.application.requests.isEmpty)
    }

    @Test(arguments: [
        ("POST", "/api/search", 200), ("POST", "/api/search/deep", 200), ("POST", "/api", 503),
        ("POST", "/api/x/%2e%2e/search", 200), ("POST", "/api/search/../entries", 503),
        ("POST", "/api/search/%2e%2e/entries", 503), ("POST", "/%zz/../api/search", 503),
        ("GET", "/unsubscribe", 503), ("HEAD", "/unsubscribe", 503), ("GET", "/unsubscribed", 200),
        ("GET", "//unsubscribe?x=1", 503),
    ])
    func routesAreComparedDecodedAndNormalised(method: String, target: String, status: Int)
        async throws
    {
        let node = try await ProxyNode(
            .haproxy,
            edit: {
                $0.replacingOccurrences(
                    of: "# read POST /api/search*  ", with: "read POST /api/search*\n#"
                )
                .replacingOccurrences(
                    of: "# write GET /unsubscribe ", with: "write GET /unsubscribe\n#")
            })
        let gate = try node.gate(.refuse)
        #expect(try await node.client.send(method, target).status == status)
        gate.stop()
    }

    @Test func theReadsOfSessionsAreHeldAndOthersAreNot() async throws {
        let node = try await ProxyNode(.haproxy)
        var setting = GateSetting.hold()
        setting.sessionReadHold = HoldLimits(
            atMost: 10, duration: .seconds(60), retryAfter: .seconds(3))
        let gate = try node.gate(setting)
        let cookie = ["Cookie": "theme=dark; sessionid=1"]
        let held = try node.client.start("GET", "/page", headers: cookie)
        #expect(await eventually { gate.observe().readsHeld == 1 })
        #expect(gate.sessionMarks == "cookie:sessionid")
        #expect(try await node.client.get("/page").status == 200)
        try gate.set(.open)
        #expect(try held.response().status == 200)
    }

    @Test func aFlipIsANewGenerationOfTheCacheAtOnce() async throws {
        let node = try await ProxyNode(
            .haproxy,
            reply: { request in
                .init(headers: ["Cache-Control": "max-age=60"], body: "v1 \(request.target)")
            })
        let second = try node.release("2-v2", name: "v2")
        #expect(try await node.client.get("/page?a=1").body == "v1 /page?a=1")
        let hit = try await node.client.get("/page?a=1")
        #expect(hit.body == "v1 /page?a=1" && hit.headers["x-cache"] == "HIT")
        try node.flip(to: "2-v2")
        let miss = try await node.client.get("/page?a=1")
        #expect(miss.body == "v2" && miss.headers["x-cache"] == nil)
        #expect(second.requests.map(\.target) == ["/page?a=1"])
    }
}
