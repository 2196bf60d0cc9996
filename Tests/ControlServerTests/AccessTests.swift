// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import CurlClient
import Metrics
import RunStore
import Synchronization
import StoreTestSupport
import Testing
import UpgradeModel

@testable import ControlServer

@Suite struct AccessTests {
    private static let blob = Digest.sha256(of: "blob")

    private static let forNodes: [(HTTPMethod, String)] = [
        (.get, Path.directive), (.post, Path.status),
    ]
    private static let forOperators: [(HTTPMethod, String)] = [
        (.get, Path.nodes), (.get, Path.runs), (.post, Path.runs), (.get, Path.run(someRun)),
        (.post, Path.requests(someRun)), (.get, Path.stream(someRun)),
        (.get, Path.journal(someRun)), (.post, Path.databaseFindings),
        (.put, Path.blob(blob)),
    ]
    private static let forBoth: [(HTTPMethod, String)] = [
        (.get, Path.blob(blob)), (.head, Path.blob(blob)),
    ]

    @Test
    func nobodyGetsAnywhereWithoutATokenThatIsKnownAndEveryRefusalSaysWhatToDo() async throws {
        try await RunningServer.run { server in
            for (method, path) in Self.forNodes + Self.forOperators + Self.forBoth {
                for sender in [RunningServer.Sender.nobody, .stranger] {
                    let answer = try await server.send(method, path, as: sender)
                    #expect(answer.status == 401, "\(method) \(path)")
                    #expect(answer.head.first("WWW-Authenticate") == "Bearer")
                    if method != .head {
                        let error = try answer.error
                        #expect(error.code == "unauthorized")
                        #expect(error.advice?.contains("sluice token create") == true)
                    }
                }
            }
            #expect(server.control.asked.isEmpty)
        }
    }

    @Test
    func aNodeMayNotWhatOperatorsMayAndAnOperatorMayNotWhatNodesMay() async throws {
        try await RunningServer.run { server in
            for (method, path) in Self.forOperators {
                let answer = try await server.send(method, path, as: .node)
                #expect(answer.status == 403, "\(method) \(path)")
                #expect(try answer.error.code == "forbidden")
            }
            for (method, path) in Self.forNodes {
                #expect(
                    try await server.send(method, path, as: .person).status == 403,
                    "\(method) \(path)")
            }
            for (method, path) in Self.forBoth {
                #expect(try await server.send(method, path, as: .node).status == 404)
                #expect(try await server.send(method, path, as: .person).status == 404)
            }
            #expect(server.control.asked.isEmpty)
        }
    }

    @Test
    func whatIsNotListedDoesNotExist() async throws {
        try await RunningServer.run { server in
            let paths = [
                "/", "/v1", "/v1/", "/v1/nodes/", "/v1/node", "/v1/runs/", "/v1/runs/..",
                "/v1/runs/-x",
                "/v1/runs/a/b", "/v1/runs/a/requests/", "/v1/blobs/", "/v1/blobs/abc", "/v2/nodes",
                "/V1/nodes", "/v1/blobs/\(Self.blob)/", "/healthz/x",
            ]
            for path in paths {
                let answer = try await server.send(.get, path, as: .person)
                #expect(answer.status == 404, "\(path)")
                #expect(try answer.error.code == "not-found")
            }
            let answer = try await server.send(.delete, Path.runs, as: .person)
            #expect(answer.status == 405)
            #expect(try answer.error.advice == "use GET, POST")
        }
    }

    @Test
    func aRevokedTokenIsRefusedWithinASecondOrTwo() async throws {
        try await RunningServer.run { server in
            #expect(try await server.send(.get, Path.directive, as: .node).status == 204)
            try await server.store.revokeTokens(of: .node(NodeName(unchecked: "web1")))
            let deadline = ContinuousClock.now + .seconds(10)
            var status = 0
            while status != 401, ContinuousClock.now < deadline {
                status = try await server.send(.get, Path.directive, as: .node).status
                if status != 401 { try await Task.sleep(for: .milliseconds(50)) }
            }
            #expect(status == 401)
        }
    }

    @Test
    func tokensAreReadAgainOnlyWhenTheRegistryHasChanged() async throws {
        let registry = CountingRegistry()
        let authenticator = Authenticator(registry: registry, interval: .zero)
        let token = Token()
        let node = Identity.node(NodeName(unchecked: "web1"))
        try await registry.store.addToken(
            hash: token.hash, for: node, labels: [:], at: Instant(milliseconds: 0))
        for _ in 0..<5 { #expect(try await authenticator.identity(of: token) == node) }
        for _ in 0..<1000 {
            await #expect(throws: APIError.self) { try await authenticator.identity(of: Token()) }
        }
        #expect(registry.lookups == 1)
        try await registry.store.addToken(
            hash: Token().hash, for: node, labels: [:], at: Instant(milliseconds: 0))
        for _ in 0..<5 { #expect(try await authenticator.identity(of: token) == node) }
        #expect(registry.lookups == 2)
        try await registry.store.revokeTokens(of: node)
        await #expect(throws: APIError.self) { try await authenticator.identity(of: token) }
    }

    @Test
    func healthNeedsNoTokenAndTellsWhyItIsNotWell() async throws {
        try await RunningServer.run { server in
            let well = try await server.send(.get, Path.health, as: .nobody)
            #expect(well.status == 200)
            #expect(try well.decode(Health.self) == Health(ok: true, epoch: Epoch(rawValue: 7)))
            let ill = Health(ok: false, epoch: Epoch(rawValue: 7), reason: "disk full")
            server.control.state.withLock { $0.health = ill }
            let answer = try await server.send(.get, Path.health, as: .nobody)
            #expect(answer.status == 503)
            #expect(try answer.decode(Health.self) == ill)
        }
    }

    @Test
    func metricsAreForThisMachineWithoutAToken() async throws {
        try await RunningServer.run { server in
            let handler = server.metrics.makeCounter(label: "sluice_test_total", dimensions: [])
            handler.increment(by: 3)
            let answer = try await server.send(.get, Path.metrics, as: .nobody)
            #expect(answer.status == 200)
            #expect(answer.text.contains("# TYPE sluice_test_total counter\nsluice_test_total 3\n"))
        }
    }

    @Test
    func metricsBeyondThisMachineAreForOperatorsOnly() throws {
        try Route.Audience.loopbackOrOperators.admit(.operator(OperatorName(unchecked: "ada")))
        #expect(throws: APIError.self) {
            try Route.Audience.loopbackOrOperators.admit(.node(NodeName(unchecked: "web1")))
        }
    }

    @Test
    func anotherProtocolIsRefused() async throws {
        try await RunningServer.run { server in
            let headers = [HTTPHeader("Sluice-Protocol", "2")]
            let answer = try await server.send(.get, Path.nodes, as: .person, headers: headers)
            #expect(answer.status == 400)
            #expect(try answer.error.code == "protocol")
            let same = [HTTPHeader("Sluice-Protocol", "\(protocolVersion)")]
            #expect(
                try await server.send(.get, Path.nodes, as: .person, headers: same).status == 200)
        }
    }
}
