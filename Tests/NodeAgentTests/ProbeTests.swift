// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// An agent believes that its gate is asked when a write of its own through the proxy says so. Real nginx, the shipped snippets.
@Suite(.timeLimit(.minutes(5))) struct ProbeTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    @Test(arguments: [
        ("", "location / { proxy_pass APP; }"),
        (
            "",
            "root FILES; if (!-e $request_filename) { rewrite ^ /index.php last; } location / { proxy_pass APP; }"
        ),
        ("server_name shop.example; error_page 403 /403.html;", "location / { proxy_pass APP; }"),
    ])
    func aWriteOfItsOwnProvesTheGateOpenAndClosedAndNeverReachesTheApplication(
        before: String, after: String
    ) async throws {
        let node = try TestNode(coordinator)
        let site = try await GatedSite(
            in: node.root, runtime: node.runtime, before: before, after: after)
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            _ = try await site.nginx.client().post("/entries", "x")
            try await until("the server is known") { node.has("servers") }
            coordinator.say(1)
            #expect(try await coordinator.proof(1).state == .proved)
            coordinator.say(2, holding)
            #expect(try await coordinator.proof(2, .hold).state == .proved)
            coordinator.say(3)
            #expect(try await coordinator.proof(3).state == .proved)
        }
        #expect(site.application.writes.count == 1)
    }

    /// Ways past the gate that sites have, and what hides its refusals.
    @Test(arguments: [
        (
            "root FILES; if (!-e $request_filename) { rewrite ^ /index.php last; }",
            "location / { proxy_pass APP; }", "without the gate being asked"
        ),
        (
            "if ($request_method = POST) { rewrite ^ /write last; }",
            "location / { proxy_pass APP; }", "without the gate being asked"
        ),
        (
            "", "location / { satisfy any; allow 127.0.0.0/8; deny all; proxy_pass APP; }",
            "satisfy any"
        ),
        ("", "location / { auth_request off; proxy_pass APP; }", "auth_request off"),
        (
            "", "location / { error_page 404 /404.html; proxy_pass APP; }",
            "its error_page line into the location"
        ),
    ])
    func aWayPastTheGateIsFoundBeforeAnythingIsTouchedAndWhenItCloses(
        before: String, after: String, words: String
    ) async throws {
        let node = try TestNode(coordinator)
        let site = try await GatedSite(
            in: node.root, runtime: node.runtime, before: before, after: after)
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            // Without a body: an application that is asked in the gate's place would wait for it.
            _ = try await site.nginx.client().post("/entries", "")
            try await until("the server is known") { node.has("servers") }
            coordinator.say(1)
            let open = try await coordinator.proof(1)
            #expect(open.state == .failed && open.detail.contains(words), "\(open)")
            coordinator.say(2, holding)
            let closed = try await coordinator.proof(2, .hold)
            #expect(closed.state == .failed && closed.detail.contains(words), "\(closed)")
            #expect(closed.detail.contains("/_sluice/probe at \(site.nginx.address):8080"))
        }
    }

    @Test func aNodeWhoseProxyHasSeenNoWriteSaysThatNothingWasTried() async throws {
        let node = try TestNode(coordinator)
        try await node.withAgent {
            coordinator.say(1)
            let said = try await coordinator.proof(1)
            #expect(said.state == .untried && said.detail.contains("gate.probe"))
        }
    }

    @Test func aURLOfTheConfigurationIsTriedAtTheNodesOwnAddress() async throws {
        let site = try await GatedSite(
            in: try TemporaryDirectory().path, runtime: "/nowhere")
        let node = try TestNode(
            coordinator,
            extra: """
                  probe: ["http://shop.example:8080/orders"]
                  probe_at: \(site.nginx.address)
                """)
        let own = try await GatedSite(
            in: node.root, runtime: node.runtime,
            after:
                "location /orders { auth_request off; proxy_pass APP; } location / { proxy_pass APP; }"
        )
        let configured = try #require(node.configuration.probes)
        #expect(configured.map(\.destination) == ["\(site.nginx.address):8080"])
        try await node.withAgent {
            coordinator.say(1)
            // The other site is gated by nobody: its agent is not there.
            let said = try await coordinator.proof(1)
            #expect(
                said.state == .failed && said.detail.contains("http://shop.example:8080/orders"))
        }
        #expect(own.application.requests.isEmpty)
    }

    @Test func aRefusalOfTheProxyItselfCountsAgainstANamedURLAndNotAgainstAServerThatWasSeen()
        async throws
    {
        let node = try TestNode(coordinator)
        let site = try await GatedSite(
            in: node.root, runtime: node.runtime,
            after: """
                location /entries { proxy_pass APP; }
                location / { deny all; proxy_pass APP; }
                """)
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            _ = try await site.nginx.client().post("/entries", "x")
            try await until("the server is known") { node.has("servers") }
            coordinator.say(1)
            let said = try await coordinator.proof(1)
            #expect(said.state == .untried && said.detail.contains("403"), "\(said)")
        }
    }
}
