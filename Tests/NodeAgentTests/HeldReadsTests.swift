// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// Reads that wait at the proxy, with real nginx, a real agent and the health check through the proxy itself.
@Suite(.timeLimit(.minutes(5))) struct HeldReadsTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private let limits = HoldLimits(
        atMost: 100, duration: .seconds(60), retryAfter: .seconds(5))
    private let flip = ActivationIdentity(unchecked: "run-7.forward")

    @Test func theHealthCheckThroughTheProxyPassesWhileOthersWaitForWhatItSays() async throws {
        let address = privateLoopbackAddress()
        let node = try TestNode(
            coordinator,
            extra: """
                health:
                  page: {address: "\(address):8080"}
                """)
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        let answers = Latch()
        let site = try await GatedSite(
            in: node.root, runtime: node.runtime, address: address,
            reply: { request in
                let isCheck = request.headers["x-sluice-probe"] != nil
                return .init(
                    headers: ["X-Release": "v2"], body: "v2", gate: isCheck ? answers : nil)
            })
        try await node.withAgent {
            let closing = directive(1) {
                $0.writes = holding
                $0.reads = ReadAdmission(hold: limits, until: flip)
                $0.stage = v2
            }
            coordinator.say(closing)
            _ = try await coordinator.status { $0.gate.readsHeld && $0.staged.contains(v2) }
            let held = try site.nginx.client().start("GET", "/page")
            try await until("the read waits") {
                try await ask(LocalRequest(verb: .status), node).status.gate.readsWaiting == 1
            }
            var flipping = closing
            flipping.revision = 2
            flipping.active = ActivationGoal(release: v2, identity: flip)
            flipping.health = HealthGoal(
                identity: identity("h"), check: HealthCheckName(unchecked: "page"),
                release: v2.name, consecutive: 2)
            coordinator.say(flipping)
            let flipped = try await coordinator.status { $0.active?.release == v2 }
            #expect(flipped.gate.readsHeld)
            // The check has got to the application, past the read that waits.
            try await until("the check is at the application") {
                site.application.requests.contains { $0.headers["x-sluice-probe"] != nil }
            }
            #expect(node.has("hold-reads"))
            answers.open()
            let healthy = try await coordinator.status { $0.health?.state == .healthy }
            #expect(healthy.gate.readsWaited == 1)
            #expect(try held.response().status == 200)
            try await until("reads pass") { !node.has("hold-reads") }
        }
    }

    @Test func theReadsOfSessionsAreHeldCountedAndLetGoAndTheProxySaysWhoseTheyAre() async throws {
        let node = try TestNode(coordinator)
        let site = try await GatedSite(in: node.root, runtime: node.runtime)
        try await node.withAgent {
            try await until("the gate is there") { node.has("gate.sock") }
            _ = try await site.nginx.client().post("/entries", "x")
            let closed = directive(1) {
                $0.writes = holding
                $0.sessions = limits
            }
            coordinator.say(closed)
            let status = try await coordinator.status { $0.gate.sessionsSettled == true }
            #expect(status.gate.sessionsHeld == true && !status.gate.readsHeld)
            #expect(status.gate.sessionMarks == "cookie:sessionid")
            #expect(node.has("hold-sessions") && !node.has("hold-reads"))
            let held = try site.nginx.client().start(
                "GET", "/basket", headers: ["Cookie": "sessionid=1"])
            #expect(try await site.nginx.client().get("/").status == 200)
            try await until("it waits") {
                try await ask(LocalRequest(verb: .status), node).status.gate.readsWaiting == 1
            }
            coordinator.say(directive(2))
            #expect(try held.response().status == 200)
            let open = try await coordinator.status { $0.revision == 2 && $0.gate.writes == .open }
            #expect(open.gate.sessionReadsWaited == 1 && open.gate.readsWaited == 1)
            #expect(open.gate.sessionsHeld == false && !node.has("hold-sessions"))
        }
    }
}
