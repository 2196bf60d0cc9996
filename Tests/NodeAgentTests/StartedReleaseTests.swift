// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Releases
import Synchronization
import Testing
import UpgradeModel

@testable import NodeAgent

/// A release that has been started is asked at its own socket, while the proxy still leads to the old one.
@Suite(.timeLimit(.minutes(5))) struct StartedReleaseTests {
    let coordinator: FakeCoordinator
    init() throws { coordinator = try FakeCoordinator() }

    private func node(check: String) throws -> TestNode {
        try TestNode(
            coordinator,
            extra: """
                actions:
                  start-app: {command: [/bin/true], awaits_socket: false}
                health:
                  page: {\(check), path: /healthz}
                  list: {\(check), path: /list}
                """)
    }

    private func goal(_ release: ReleaseReference, others: [String] = ["list"]) -> HealthGoal {
        HealthGoal(
            identity: identity("start"), check: HealthCheckName(unchecked: "page"),
            release: release.name, consecutive: 2,
            others: others.map(HealthCheckName.init(unchecked:)), place: .ownSocket)
    }

    private func starting(_ release: ReleaseReference, _ goal: HealthGoal) -> Directive {
        directive(1) {
            $0.stage = release
            $0.tasks = [task("start.1", "start-app", release: release)]
            $0.health = goal
        }
    }

    @Test func theReleaseIsAskedBesideTheProxyOnEveryPageSeveralTimes() async throws {
        // The proxy is not there: whoever asked it would never be healthy.
        let node = try node(check: "address: 127.0.0.1:9, header: {name: X-Release}")
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        let asked = Mutex<[String: Int]>([:])
        let hosts = Mutex<Set<String>>([])
        let app = try HTTPServer(unixSocket: "\(node.root)/sockets/\(v2.identifier).sock") {
            request in
            asked.withLock { $0[request.target, default: 0] += 1 }
            hosts.withLock { _ = $0.insert(request.headers["host"] ?? "") }
            return .init(status: 200, headers: [("X-Release", "v2")])
        }
        defer { app.stop() }
        try await node.withAgent {
            coordinator.say(starting(v2, goal(v2)))
            let status = try await coordinator.status { $0.health?.state == .healthy }
            #expect(status.active?.release.name.rawValue == "v1", "nothing has flipped")
            #expect(status.has(.asksOwnSocket))
        }
        let counts = asked.withLock { $0 }
        #expect((counts["/healthz"] ?? 0) >= 4 && (counts["/list"] ?? 0) >= 4)
        #expect(hosts.withLock { $0 } == ["127.0.0.1:9"], "the name that it has behind the proxy")
    }

    @Test func oneWorkerThatAnswersBadlyKeepsTheReleaseFromBeingHealthy() async throws {
        let node = try node(check: "socket: \"{socket}\"")
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        let count = Mutex(0)
        let isMended = Mutex(false)
        let app = try HTTPServer(unixSocket: "\(node.root)/sockets/\(v2.identifier).sock") { _ in
            let number = count.withLock {
                $0 += 1
                return $0
            }
            let isBad = number.isMultiple(of: 4) && !isMended.withLock { $0 }
            return .init(status: isBad ? 500 : 200, headers: [("X-Release", "v2")])
        }
        defer { app.stop() }
        try await node.withAgent {
            coordinator.say(starting(v2, goal(v2)))
            let ill = try await coordinator.status {
                $0.health?.detail.contains("answered 500") == true
            }
            #expect(ill.health?.state == .checking)
            isMended.withLock { $0 = true }
            _ = try await coordinator.status { $0.health?.state == .healthy }
        }
    }

    @Test func aCheckThatTheNodeDoesNotKnowIsNamed() async throws {
        let node = try node(check: "socket: \"{socket}\"")
        try await node.adopt("v1", files: ["a": "1"])
        let v2 = try node.publish("v2", files: ["a": "2"])
        let app = try HTTPServer(unixSocket: "\(node.root)/sockets/\(v2.identifier).sock") { _ in
            .init(status: 200, headers: [("X-Release", "v2")])
        }
        defer { app.stop() }
        try await node.withAgent {
            coordinator.say(starting(v2, goal(v2, others: ["archive"])))
            _ = try await coordinator.status {
                $0.health?.detail.contains("`archive` is not among the health checks") == true
            }
        }
    }
}
