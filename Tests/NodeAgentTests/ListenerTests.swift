// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import CurlClient
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// The agent's own write finds its way through whatever listeners a proxy has. Real nginx, the shipped snippets.
@Suite(.timeLimit(.minutes(5))) struct ListenerTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    struct Listener: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// Behind address and port.
        var listen = ""
        var scheme = "http"
        var approach = ProbeTarget.Approach()
        var isUnixSocket = false

        static let all = [
            Listener(testDescription: "clear"),
            Listener(testDescription: "TLS", listen: " ssl", scheme: "https"),
            Listener(
                testDescription: "TLS with HTTP/2", listen: " ssl http2", scheme: "https"),
            Listener(
                testDescription: "PROXY protocol", listen: " proxy_protocol",
                approach: .init(withProxyLine: true)),
            Listener(
                testDescription: "TLS behind the PROXY protocol", listen: " ssl proxy_protocol",
                scheme: "https", approach: .init(withProxyLine: true)),
            Listener(
                testDescription: "nothing but HTTP/2 in clear", listen: " http2",
                approach: .init(inHTTP2: true)),
            Listener(
                testDescription: "HTTP/2 in clear behind the PROXY protocol",
                listen: " http2 proxy_protocol",
                approach: .init(withProxyLine: true, inHTTP2: true)),
            Listener(testDescription: "a unix socket", isUnixSocket: true),
        ]
    }

    private func site(_ listener: Listener, in node: TestNode, after: String, lines: String = "")
        async throws -> GatedSite
    {
        var before = "server_name shop.example; \(lines)"
        if listener.scheme == "https" {
            let certificate = try node.makeCertificate()
            before += " ssl_certificate \(certificate).pem; ssl_certificate_key \(certificate).key;"
        }
        if listener.isUnixSocket { before += " listen unix:\(node.root)/site.sock;" }
        return try await GatedSite(
            in: node.root, runtime: node.runtime, before: before, after: after,
            listen: listener.listen, address: Self.address(of: node))
    }

    /// Known before the site is there, so that a configuration can name it.
    private static func address(of node: TestNode) -> String {
        let named = node.configuration.probes?.first?.destination.split(separator: ":").first
        return named == nil || named == "unix" ? privateLoopbackAddress() : String(named ?? "")
    }

    private func send(
        _ listener: Listener, _ node: TestNode, _ site: GatedSite, _ tls: TLSFiles = TLSFiles()
    ) async throws -> Int {
        var request = HTTPRequest(
            .post,
            "\(listener.scheme)://shop.example\(listener.isUnixSocket ? "" : ":8080")/entries")
        request.tls = tls
        request.tls.isUnverified = true
        request.beginsWithProxyLine = listener.approach.withProxyLine
        request.speaksHTTP2 = listener.approach.inHTTP2
        if listener.isUnixSocket {
            request.unixSocket = node.root + "/site.sock"
        } else {
            request.connectTo = "\(site.nginx.address):8080"
        }
        let client = CurlClient()
        defer { client.close() }
        return try await client.perform(request).status
    }

    @Test(arguments: Listener.all)
    func aServerIsTriedInTheWayInWhichWritesHaveCome(listener: Listener) async throws {
        let node = try TestNode(coordinator)
        let site = try await site(listener, in: node, after: "location / { proxy_pass APP; }")
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            #expect(try await send(listener, node, site) == 200)
            try await until("the server is known") { node.has("servers") }
            coordinator.say(1)
            #expect(try await coordinator.proof(1).state == .proved)
            coordinator.say(2, holding)
            #expect(try await coordinator.proof(2, .hold).state == .proved)
        }
        #expect(site.application.writes.count == 1)
    }

    @Test(arguments: Listener.all)
    func aWayPastTheGateIsFoundBehindEachOfThem(listener: Listener) async throws {
        let node = try TestNode(coordinator)
        let site = try await site(
            listener, in: node, after: "location / { auth_request off; proxy_pass APP; }")
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            #expect(try await send(listener, node, site) == 200)
            try await until("the server is known") { node.has("servers") }
            coordinator.say(1)
            let said = try await coordinator.proof(1)
            #expect(said.state == .failed && said.detail.contains("without the gate being asked"))
            #expect(said.detail.contains("\(listener.scheme)://shop.example"))
        }
    }

    /// Nobody has to write down what a listener wants.
    @Test(arguments: Listener.all)
    func aNamedURLIsTriedInWhateverWayItsListenerWants(listener: Listener) async throws {
        let address = privateLoopbackAddress()
        let node = try TestNode(
            coordinator,
            extra: """
                  probe: ["\(listener.scheme)://shop.example:8080/orders"]
                  probe_at: "\(listener.isUnixSocket ? "unix:ROOT/site.sock" : address)"
                """)
        let site = try await site(listener, in: node, after: "location / { proxy_pass APP; }")
        try await node.withAgent {
            coordinator.say(1)
            let open = try await coordinator.proof(1)
            #expect(open.state == .proved, "\(open)")
            coordinator.say(2, holding)
            #expect(try await coordinator.proof(2, .hold).state == .proved)
        }
        #expect(site.application.requests.isEmpty)
    }

    @Test func whereClientsShowACertificateTheAgentHasNoneAndNothingIsKnown() async throws {
        let node = try TestNode(coordinator)
        let listener = Listener.all[1]
        let site = try await site(
            listener, in: node, after: "location / { proxy_pass APP; }",
            lines: "ssl_verify_client on; ssl_client_certificate \(node.root)/site.pem;")
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            let own = TLSFiles(
                certificate: node.root + "/site.pem", privateKey: node.root + "/site.key")
            #expect(try await send(listener, node, site, own) == 200)
            try await until("the server is known") { node.has("servers") }
            coordinator.say(1)
            let said = try await coordinator.proof(1)
            #expect(said.state == .untried && said.detail.contains("by itself"), "\(said)")
            #expect(said.detail.contains("https://shop.example:8080/_sluice/probe"))
        }
    }

    @Test func aServerThatCouldNotBeTriedIsNamedBesideOneThatWas() {
        let untried = GateProof(.untried, "POST https://b/: 400 by itself")
        let sum = GateProver.sum([GateProof(.proved), untried])
        #expect(sum == GateProof(.proved, untried.detail))
        #expect(GateProver.sum([untried]) == untried)
        #expect(GateProver.sum([untried, GateProof(.failed, "past")]).state == .failed)
    }
}

extension TestNode {
    /// - Returns: the path of a certificate that signs itself, without its extension; its key is beside it.
    fileprivate func makeCertificate() throws -> String {
        let path = root + "/site"
        try ChildProcess(
            [
                "/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=shop.example",
                "-keyout", path + ".key", "-out", path + ".pem",
            ], output: root + "/openssl.log"
        ).end(0)  // no signal: it ends by itself
        return path
    }
}
