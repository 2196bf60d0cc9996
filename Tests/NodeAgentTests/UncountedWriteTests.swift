// SPDX-License-Identifier: Apache-2.0

import NginxTestSupport
import Releases
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// Writes whose end the proxy does not report, with a real Caddy.
@Suite(.timeLimit(.minutes(5))) struct UncountedWriteTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    @Test func noneIsInFlightOnceTheConnectionsOfThenHaveLeftTheApplication() async throws {
        let node = try TestNode(coordinator)
        let v1 = try await node.adopt("v1", files: ["a": "1"])
        let slow = Latch()
        let application = try RecordingApplication(
            at: "\(node.root)/sockets/\(v1.identifier).sock"
        ) { .init(body: "done", gate: $0.target == "/slow" ? slow : nil) }
        let proxy = try await PrivateProxy(
            .caddy, in: node.root, runtime: node.runtime, application: node.root + "/app")
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            let write = try proxy.client().start("POST", "/slow", body: "x")
            try await until("it is at the application") { !application.requests.isEmpty }
            coordinator.say(directive(1) { $0.writes = holding })
            let closed = try await coordinator.status { $0.gate.writes == .hold }
            #expect(closed.gate.writesInFlight == nil)
            // Reads come and go meanwhile.
            for _ in 0..<20 { #expect(try await proxy.client().get("/").status == 200) }
            #expect(
                try await ask(LocalRequest(verb: .status), node).status.gate.writesInFlight == nil)
            slow.open()
            #expect(try write.response().status == 200)
            _ = try await coordinator.status { $0.gate.writesInFlight == 0 }
            coordinator.say(directive(2))
            let open = try await coordinator.status { $0.gate.writes == .open && $0.revision == 2 }
            #expect(open.gate.writesInFlight == nil)
        }
    }
}
