// SPDX-License-Identifier: Apache-2.0

import NginxTestSupport
import Testing
import TestSupport
import WriteGate

/// What pages that carry the browser script ask their node, behind each other proxy; behind nginx a browser does (agents/browser).
@Suite(.timeLimit(.minutes(5)))
struct OpenPageTests {
    @Test(arguments: PrivateProxy.Kind.allCases)
    func pagesAreToldTheModeAndTheReleaseWithoutAnAgentAndWithOne(proxy: PrivateProxy.Kind)
        async throws
    {
        let node = try await ProxyNode(proxy)
        let lie = ["X-Sluice-Release": "9-v9", "X-Sluice-Mode": "whatever"]
        let none = try await node.client.get("/_sluice/mode.json", headers: lie)
        #expect(none.status == 200)
        #expect(none.body.contains("\"readOnly\":false"))
        #expect(none.headers["x-sluice-release"] == "1-v1.0123456789ab")
        #expect(none.headers["content-type"] == "application/json")
        #expect(none.headers["cache-control"] == "no-store")
        let second = try node.release("2-v2", name: "v2")
        try node.flip(to: "2-v2")
        // Also while reads are held.
        let gate = try node.gate(.holdAll)
        let closed = try await node.client.get("/_sluice/mode.json", headers: lie)
        #expect(closed.body.contains("\"readOnly\" : true"))
        #expect(closed.headers["x-sluice-release"] == "2-v2.0123456789ab")
        #expect(closed.headers["cache-control"] == "no-store")
        gate.stop()
        #expect(node.application.requests.isEmpty && second.requests.isEmpty)
    }

    @Test(arguments: PrivateProxy.Kind.allCases)
    func whatHappensIsHeardAsItHappens(proxy: PrivateProxy.Kind) async throws {
        let node = try await ProxyNode(proxy)
        // A stream that nobody is there for fails at once; pages ask for mode.json then.
        #expect(try await node.client.get("/_sluice/events").status >= 502)
        let gate = try node.gate(.holdAll)
        // More than the agent would read of it.
        let headers = ["Cookie": String(repeating: "theme=dark; ", count: 600)]
        let page = try node.client.start("GET", "/_sluice/events?x=1", headers: headers)
        let said = try page.receive(until: "\"readOnly\":true")
        #expect(said.hasPrefix("HTTP/1.1 200"))
        #expect(said.lowercased().contains("\r\ncontent-type: text/event-stream\r\n"))
        // An nginx in front would wait for more.
        #expect(said.lowercased().contains("\r\nx-accel-buffering: no\r\n"))
        try gate.set(.open)
        _ = try page.receive(until: "\"readOnly\":false")
        try gate.set(.refuse)
        _ = try page.receive(until: "Back at noon.")
        page.hangUp()
        gate.stop()
        #expect(node.application.requests.isEmpty)
    }

    @Test(arguments: PrivateProxy.Kind.allCases)
    func theScriptComesWhole(proxy: PrivateProxy.Kind) async throws {
        let node = try await ProxyNode(proxy)
        let answer = try await node.client.get("/_sluice/sluice.js")
        #expect(answer.status == 200)
        #expect(answer.headers["content-type"]?.hasPrefix("text/javascript") == true)
        #expect(answer.headers["cache-control"] == "public, max-age=300")
        let isWhole = try answer.body == browserScript
        #expect(isWhole)
    }

    /// Their names are no way past the gate.
    @Test(
        arguments: PrivateProxy.Kind.allCases,
        ["mode.json", "events", "sluice.js", "health", "mode.json/more"])
    func aWriteToThemIsNotLetThrough(proxy: PrivateProxy.Kind, name: String) async throws {
        let node = try await ProxyNode(proxy)
        let gate = try node.gate(.refuse)
        _ = try await node.client.post("/_sluice/\(name)")
        #expect(node.application.requests.isEmpty)
        gate.stop()
    }
}
