// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import NodeEngine
import Releases
import TestSupport
import Testing
import UpgradeModel

@testable import NodeAgent

/// Before a run, an agent looks at what could hold the held requests on its node.
@Suite(.serialized, .timeLimit(.minutes(2))) struct HoldingRoomTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private func room(_ node: TestNode) async throws -> HoldingRoom {
        try await node.withAgent {
            coordinator.say(
                directive(1) { $0.run = RunIdentifier(unchecked: "run-1") })
            let status = try await coordinator.status { $0.gate.proof?.room != nil }
            return try #require(status.gate.proof?.room)
        }
    }

    @Test func theListenQueueOfTheActiveReleaseIsMeasured() async throws {
        let node = try TestNode(coordinator)
        let release = try await node.adopt("v1", files: ["a": "1"])
        let path = try ReleaseStore(node.configuration.releases).socketPath(of: release)
        let application = try ListeningSocket(unixSocket: path, backlog: 5)
        application.start { _, _ in }
        defer { application.stop() }
        let room = try await room(node)
        #expect(room.queues == [.init(place: path, length: 5)])
        #expect(room.warnings(holding: 1000).contains { $0.contains("takes 5, and up to 64") })
        #expect(room.openFiles > 0 && room.requests > 0)
        #expect(room.longestHold == .seconds(110))
    }

    /// As a service does that the node's own actions switch: no release of Sluice's listens at a socket of its own.
    @Test func elsewhereItIsTheQueueOfWhereTheProxyPassesRequestsOnTo() async throws {
        let application = try ListeningSocket(backlog: 6)
        application.start { _, _ in }
        defer { application.stop() }
        let node = try TestNode(coordinator, extra: "  nginx: ROOT/nginx.conf\n")
        try write(
            """
            upstream gate { server unix:\(node.runtime)/gate.sock; }
            upstream app { server 127.0.0.1:\(application.port) max_fails=0; }
            server { location / { proxy_pass http://app; } location /x { proxy_pass http://$y; } }
            """, to: node.root + "/nginx.conf", mode: 0o644)
        let room = try await room(node)
        #expect(room.queues == [.init(place: "127.0.0.1:\(application.port)", length: 6)])
    }

    private func bounds(_ node: TestNode) async throws -> [ProxyBound]? {
        try await node.withAgent {
            coordinator.say(
                directive(1) { $0.run = RunIdentifier(unchecked: "run-1") })
            let status = try await coordinator.status { $0.gate.proof?.room != nil }
            return status.gate.proof?.bounds
        }
    }

    /// The shipped file, and the site's own above it.
    @Test func whatHAProxyDoesToHeldRequestsIsRead() async throws {
        let node = try TestNode(coordinator, extra: "  haproxy: ROOT/haproxy.cfg\n")
        let shipped =
            try String(contentsOfFile: agents + "/haproxy/sluice.cfg", encoding: .utf8)
            + String(contentsOfFile: agents + "/haproxy/site.cfg", encoding: .utf8)
        try write(
            "global\n  maxconn 900\ndefaults site\n  mode http\n"
                + shipped.replacing("/run/sluice", with: node.runtime),
            to: node.root + "/haproxy.cfg", mode: 0o644)
        let found = try #require(try await bounds(node))
        #expect(
            found == [
                ProxyBound(
                    name: "global maxconn", position: node.root + "/haproxy.cfg:2", requests: 900,
                    listeners: 250)
            ])
        #expect(found[0].warnings(holding: 600, for: .seconds(15)) == [])
        #expect(found[0].warnings(holding: 1000, for: .seconds(15)).count == 1)
    }

    @Test func whatCaddyDoesToHeldRequestsIsRead() async throws {
        let node = try TestNode(coordinator, extra: "  caddy: ROOT/Caddyfile\n")
        let shipped = try String(contentsOfFile: agents + "/caddy/sluice.caddy", encoding: .utf8)
        try write(
            "{\n servers {\n  timeouts {\n   write 30s\n  }\n }\n}\n"
                + shipped.replacing("/run/sluice", with: node.runtime)
                .replacing("import /etc/caddy/sluice/routes.caddy", with: ""),
            to: node.root + "/Caddyfile", mode: 0o644)
        let found = try #require(try await bounds(node))
        #expect(found.map(\.span) == [.seconds(30), .seconds(120)])
        #expect(found.flatMap { $0.warnings(holding: 1000, for: .seconds(15)) } == [])
        #expect(found.flatMap { $0.warnings(holding: 1000, for: .seconds(60)) }.count == 1)
    }

    @Test func anUpstreamThatKeepsConnectionsToTheApplicationsSocketIsFound() async throws {
        let node = try TestNode(coordinator, extra: "  nginx: ROOT/nginx.conf\n")
        try write(
            """
            upstream gate { server unix:\(node.runtime)/gate.sock; keepalive 16; }
            upstream app { server unix:\(node.root)/app/current/app.sock; keepalive 8; }
            """, to: node.root + "/nginx.conf", mode: 0o644)
        #expect(
            try await bounds(node) == [
                ProxyBound(
                    name: "the upstream app", position: node.root + "/nginx.conf:2", kept: .nginx)
            ])
    }

    /// Another HAProxy of the machine says nothing of this gate.
    @Test func aProxyThatDoesNotAskThisGateIsNotLookedAt() async throws {
        let node = try TestNode(coordinator, extra: "  haproxy: ROOT/haproxy.cfg\n")
        try write(
            "global\n  maxconn 9\ndefaults sluice\nfrontend a from sluice\n",
            to: node.root + "/haproxy.cfg", mode: 0o644)
        #expect(try await bounds(node) == nil)
    }
}
