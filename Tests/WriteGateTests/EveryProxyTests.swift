// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// What every proxy does with the gate.
@Suite(.timeLimit(.minutes(5)))
struct EveryProxyTests {
    /// HAProxy's and Caddy's own timeout for their client is 2 s in these tests.
    @Test(arguments: Front.allCases)
    func aHeldWriteGoesThroughWithItsBodyOnceTheGateOpens(front: Front) async throws {
        let node = try await front.node()
        let gate = try node.gate(.hold())
        let body = String(repeating: "guestbook ", count: 500_000)  // more than sockets take
        async let large = node.client.post("/large", body)
        async let small = node.client.post("/small", "x")
        #expect(await eventually { gate.observe().writesHeld == 2 })
        #expect(await eventually { (gate.observe().oldestHeld ?? .zero) > .seconds(3) })
        for _ in 0..<10 { #expect(try await node.client.get("/page").status == 200) }
        #expect(node.application.writes.isEmpty)
        try gate.set(.open)
        #expect(try await large.status == 200)
        #expect(try await small.status == 200)
        let isWhole = Set(node.application.writes.map(\.body)) == [body, "x"]
        #expect(isWhole)
    }

    /// nginx and HAProxy have new processes then, Caddy a new server in the same one.
    @Test(arguments: Front.allCases)
    func aReloadDoesNotLetGoOfAHeldWrite(front: Front) async throws {
        let node = try await front.node()
        let gate = try node.gate(.hold())
        let held = try node.client.start("POST", "/entries/1", body: "x")
        #expect(await eventually { gate.observe().writesHeld == 1 })
        try node.reload()
        // A new worker of nginx has not been heard, so both kinds of datagram come from it.
        let later = try node.client.start("POST", "/entries/2", body: "x")
        #expect(await eventually { gate.observe().writesHeld == 2 })
        #expect(node.application.requests.isEmpty)
        try gate.set(.open)
        #expect(try held.response().status == 200)
        #expect(try later.response().status == 200)
        #expect(node.application.writes.count == 2)
        guard front.reportsEnds else { return }
        #expect(await eventually { gate.observe().totals.completed == 2 })
        #expect(gate.observe().writesInFlight == 0)
    }

    @Test(arguments: Front.allCases.filter(\.reportsEnds))
    func aWriteIsInFlightUntilItHasCompleted(front: Front) async throws {
        let latch = Latch()
        let node = try await front.node(reply: { _ in .init(body: "done", gate: latch) })
        let gate = try node.gate()
        let request = try node.client.start("POST", "/entries", body: "x")
        #expect(await eventually { node.application.requests.count == 1 })
        #expect(gate.observe().writesInFlight == 1)
        latch.open()
        #expect(try request.response().status == 200)
        #expect(await eventually { gate.observe().writesInFlight == 0 })
        #expect(gate.observe().totals.completed == 1)
        #expect(gate.observe().totals.unasked == 0)
        #expect(gate.servers.map(\.address) == [node.client.address])
    }

    @Test(arguments: Front.allCases)
    func aRefusalIsInTheClientsOwnWords(front: Front) async throws {
        let node = try await front.node()
        let gate = try node.gate(.refuse)
        let client = node.client
        let plain = try await client.post("/entries")
        #expect(plain.status == 503 && plain.body == "Back at noon.\n")
        #expect(plain.headers["retry-after"] == "7")
        #expect(plain.headers["x-sluice-refused"] == "read-only")
        #expect(plain.headers["cache-control"] == "no-store")
        let json = try await client.send(
            "POST", "/entries", headers: ["Accept": "application/json"], body: "x")
        #expect(json.status == 503)
        #expect(
            json.body
                == "{\"error\":\"read-only\",\"message\":\"Back at noon.\",\"retryAfter\":7}\n")
        #expect(node.application.requests.isEmpty)
        #expect(gate.observe().totals.writesRefused.closed == 2)
    }

    @Test(arguments: Front.allCases, ["read-only", "hold-reads"])
    func withoutAnAgentTheFlagsDecide(front: Front, flag: String) async throws {
        let node = try await front.node()
        let (method, other) = flag == "read-only" ? ("POST", "GET") : ("GET", "POST")
        #expect(try await node.client.send(method, "/page").status == 200)
        try node.directory.write("", to: "run/\(flag)")
        let before = node.application.requests.count
        let response = try await node.client.send(method, "/page")
        #expect(response.status == 503)
        #expect(response.headers["retry-after"] == "5")
        #expect(response.headers["x-sluice-refused"] == "agent-gone")
        #expect(node.application.requests.count == before)
        #expect(try await node.client.send(other, "/page").status == 200)
        // A directory is no flag.
        try FileManager.default.removeItem(atPath: node.runtime + "/\(flag)")
        try FileManager.default.createDirectory(
            atPath: node.runtime + "/\(flag)", withIntermediateDirectories: true)
        #expect(try await node.client.send(method, "/page").status == 200)
    }

    @Test(arguments: Front.allCases)
    func aKilledAgentThatWasClosedStaysClosedAndWhoeverItHeldIsRefused(front: Front)
        async throws
    {
        let node = try await front.node()
        let first = try node.process()
        _ = try first.say("hold")
        let held = try node.client.start("POST", "/entries", body: "x")
        #expect(try await eventually { try first.say("observe").hasPrefix("observe 1 0 ") })
        first.kill()
        #expect(try held.response().headers["x-sluice-refused"] == "agent-gone")
        #expect(try await node.client.post("/entries").headers["x-sluice-refused"] == "agent-gone")
        #expect(node.application.requests.isEmpty)

        let second = try node.process()
        #expect(second.greeting == "ready hold")
        // Caddy goes by the flags for a moment more.
        var again = try node.client.start("POST", "/entries", body: "x")
        while try
            !(await eventually(within: .milliseconds(500)) {
                try second.say("observe").hasPrefix("observe 1 0 ")
            })
        {
            #expect(try again.response().headers["x-sluice-refused"] == "agent-gone")
            again = try node.client.start("POST", "/entries", body: "x")
        }
        #expect(try await eventually { try second.say("observe").hasPrefix("observe 1 0 ") })
        _ = try second.say("open")
        #expect(try again.response().status == 200)
        second.kill()
        #expect(try await node.client.post("/entries").status == 200)
        #expect(try node.process().greeting == "ready open")
    }

    @Test(arguments: Front.allCases)
    func anAgentThatIsStoppedWithoutBeingKilledDoesNotOpenTheGate(front: Front)
        async throws
    {
        let node = try await front.node(edit: front.isImpatient)
        let process = try node.process()
        _ = try process.say("hold")
        process.signal(SIGSTOP)
        #expect(try await node.client.post("/entries").headers["x-sluice-refused"] == "agent-gone")
        process.signal(SIGCONT)
        #expect(node.application.requests.isEmpty)
    }

    /// Caddy learns of it only where there is no body that it would have to read first.
    @Test(arguments: [
        (Front.nginx, 5), (.nginx, 60_000), (.haproxy, 0), (.haproxy, 5), (.haproxy, 8000),
        (.caddy, 0),
    ])
    func aClientThatGoesAwayWhileHeldIsForgotten(front: Front, bodySize: Int)
        async throws
    {
        let node = try await front.node()
        let gate = try node.gate(.hold())
        let held = try node.client.start(
            "POST", "/entries", body: String(repeating: "x", count: bodySize))
        #expect(await eventually { gate.observe().writesHeld == 1 })
        held.hangUp()
        #expect(await eventually { gate.observe().writesHeld == 0 })
        #expect(gate.observe().totals.abandoned == 1)
        try gate.set(.open)
        #expect(try await node.client.get("/").status == 200)
        #expect(node.application.writes.isEmpty)
        #expect(gate.observe().writesInFlight == 0)
    }

    @Test(arguments: Front.allCases)
    func theProbeSaysWhetherAWriteWouldPass(front: Front) async throws {
        let node = try await front.node()
        let gate = try node.gate()
        #expect(try await node.probe(gate) == .open)
        try gate.set(.hold())
        #expect(try await node.probe(gate) == .closed)
        try gate.set(.refuse)
        #expect(try await node.probe(gate) == .closed)
        #expect(node.application.requests.isEmpty)
        #expect(gate.observe().totals.admitted == 0)
    }

    @Test(arguments: Front.allCases)
    func readsAreHeldAndMeetTheReleaseThatIsCurrentThen(front: Front) async throws {
        let node = try await front.node()
        #expect(try await node.client.get("/page/1").body == "v1")
        let gate = try node.gate(.holdAll)
        let second = try node.release("2-v2", name: "v2")
        let reads = try (0..<10).map { try node.client.start("GET", "/page/\($0)") }
        let write = try node.client.start("POST", "/entries", body: "x")
        #expect(
            await eventually { gate.observe().readsHeld == 10 && gate.observe().writesHeld == 1 })
        // The agent's own health check is not held.
        let pass = gate.makePass()
        let check = try await node.client.send("GET", "/page/0", headers: [pass.name: pass.value])
        #expect(check.body == "v1")
        try node.flip(to: "2-v2")
        try gate.set(.hold())
        for read in reads { #expect(try read.response().body == "v2") }
        try gate.set(.open)
        #expect(try write.response().body == "v2")
        #expect(second.requests.count == 11)
    }

    @Test(arguments: Front.allCases)
    func aFlipUnderLoadFailsNoRequestAndNothingOfTheOldReleaseIsServedAfterIt(
        front: Front
    )
        async throws
    {
        let node = try await front.node()
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
            for turn in 0..<30 {
                let (activation, name) = turn % 2 == 0 ? ("2-v2", "v2") : ("1-v1", "v1")
                try node.flip(to: activation)
                // Whoever asks after the flip sees the release that is current.
                #expect(try await client.post("/check").body == name)
                #expect(try await client.get("/fresh/\(turn)").body == name)
            }
            load.end()
            try await group.waitForAll()
        }
        let seen = load.answers
        #expect(Set(seen.keys).isSubset(of: ["200 v1", "200 v2"]), "\(seen)")
        #expect(!second.requests.isEmpty)
        gate.stop()
    }

    @Test(arguments: Front.allCases)
    func theHealthPageSaysWhetherTheNodeIsInService(front: Front) async throws {
        let node = try await front.node()
        let gate = try node.gate()
        #expect(try await node.client.get("/_sluice/health").body.hasPrefix("in service"))
        try gate.setService(.out)
        #expect(try await node.client.get("/_sluice/health").status == 503)
        #expect(try await node.client.get("/").status == 200)
        try gate.setService(.in)
        #expect(try await node.client.get("/_sluice/health").status == 200)
        #expect(node.application.requests.count == 1)
    }

    @Test(arguments: Front.allCases)
    func theApplicationIsToldTheModeByTheGateAndWhoTheClientIs(front: Front)
        async throws
    {
        let node = try await front.node()
        let gate = try node.gate()
        let lie = ["X-Sluice-Mode": "whatever"]
        _ = try await node.client.send("GET", "/a", headers: lie)
        _ = try await node.client.send("POST", "/b", headers: lie)
        try gate.set(.hold())
        _ = try await node.client.send("GET", "/c", headers: lie)
        let held = try node.client.start("POST", "/d", headers: lie, body: "x")
        #expect(await eventually { gate.observe().writesHeld == 1 })
        try gate.set(.open)
        #expect(try held.response().status == 200)
        let seen = node.application.requests.map { $0.headers["x-sluice-mode"] }
        #expect(seen == ["normal", "normal", "read-only", "normal"])
        #expect(node.application.requests.allSatisfy { $0.headers["x-forwarded-for"] != nil })
        #expect(node.application.requests.allSatisfy { $0.headers["x-forwarded-proto"] == "http" })
    }

    /// HTTP/1.0 has no Host and no Expect; a GET may have a body.
    @Test(arguments: Front.allCases)
    func whateverAClientSendsTheGateIsAskedAboutWrites(front: Front) async throws {
        let node = try await front.node()
        let gate = try node.gate(.refuse)
        let requests: [(String, [String: String])] = [
            ("PUT", [:]), ("DELETE", ["Expect": "100-continue"]), ("BREW", [:]),
            ("POST", ["X-Forwarded-Method": "GET", "X-Sluice-Kind": "read"]),
            ("POST", ["Transfer-Encoding": "chunked", "Content-Length": "0"]),
            ("POST", ["X-HTTP-Method-Override": "GET"]),
            ("POST", ["Content-Type": "application/grpc"]),
            ("POST", ["Accept": "text/event-stream"]),
            ("GET", ["Upgrade": "WebSocket", "Connection": "upgrade"]),
        ]
        // Caddy would wait for the rest of a body that never comes before it hangs up.
        var client = node.client
        client.timeout = .seconds(5)
        for (method, headers) in requests {
            _ = try? await client.send(method, "/entries", headers: headers)
        }
        #expect(node.application.requests.isEmpty)
        #expect(try await node.client.send("GET", "/", body: "x").status == 200)
        gate.stop()
    }
}

extension Front {
    /// The shipped file with one second instead of two minutes for an answer of the agent.
    fileprivate func isImpatient(_ text: String) -> String {
        text.replacingOccurrences(of: "ANSWER_SECONDS = 120", with: "ANSWER_SECONDS = 1")
            .replacingOccurrences(
                of: "response_header_timeout 120s", with: "response_header_timeout 1s"
            )
            .replacingOccurrences(
                of: "proxy_read_timeout    120s", with: "proxy_read_timeout 1s")
    }
}
