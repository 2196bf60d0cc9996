// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import CurlClient
import FoundationEssentials
import Glibc
import Logging
import RunStore
import StoreTestSupport
import Testing
import UpgradeModel

@testable import ControlServer

/// A server on a free port of this machine, for the time of a test.
struct RunningServer: Sendable {
    let control = StubControl()
    let store = InMemoryRunStore()
    let blobs = InMemoryBlobStore(digest: { Digest.sha256(of: $0) })
    let metrics = PrometheusMetrics()
    let client = CurlClient()
    let nodeToken = Token()
    let operatorToken = Token()
    private(set) var origin = ""
    private(set) var connections: Connections?
    private(set) var tls = TLSFiles()

    /// Starts it, runs the test, ends it.
    static func run(
        tls files: (certificate: String, key: String)? = nil, patience: Patience? = nil,
        connections: Int = 1000, now: @escaping @Sendable () -> Int = { time(nil) },
        _ test: @escaping @Sendable (RunningServer) async throws -> Void
    ) async throws {
        var running = RunningServer()
        try await running.store.addToken(
            hash: running.nodeToken.hash, for: .node(NodeName(unchecked: "web1")), labels: [:],
            at: Instant(milliseconds: 0))
        try await running.store.addToken(
            hash: running.operatorToken.hash, for: .operator(OperatorName(unchecked: "ada")),
            labels: [:],
            at: Instant(milliseconds: 0))
        let (ports, port) = AsyncStream<Int>.makeStream()
        let listen = try #require(ListenAddress(argument: "127.0.0.1:0"))
        var configuration = ControlServer.Configuration(
            listen: listen, tls: files, connections: connections)
        configuration.now = now
        if let patience { configuration.patience = patience }
        let server = try ControlServer(
            configuration, control: running.control, registry: running.store,
            blobs: running.blobs, metrics: running.metrics,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { port.yield($0) }
        running.connections = server.connections
        if let files { running.tls = TLSFiles(authorities: files.certificate) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            for await number in ports {
                running.origin = "\(files == nil ? "http" : "https")://127.0.0.1:\(number)"
                break
            }
            let ready = running
            group.addTask { try await test(ready) }
            try await group.next()
            group.cancelAll()
        }
    }

    enum Sender { case nobody, node, person, stranger }

    func send(
        _ method: HTTPMethod, _ path: String, as sender: Sender, body: HTTPBody = .none,
        headers: [HTTPHeader] = [], range: HTTPRange? = nil
    ) async throws -> HTTPResponse {
        try await client.perform(
            HTTPRequest(
                method, origin + path, headers: headers, body: body, bearerToken: token(of: sender),
                timeouts: HTTPTimeouts(total: .seconds(20)), tls: tls, range: range,
                maximumBody: 8 << 20))
    }

    mutating func trust(_ authority: String) { tls = TLSFiles(authorities: authority) }

    func token(of sender: Sender) -> HTTPSecret? {
        switch sender {
        case .nobody: nil
        case .node: HTTPSecret(nodeToken.text)
        case .person: HTTPSecret(operatorToken.text)
        case .stranger: HTTPSecret(Token().text)
        }
    }
}

extension HTTPResponse {
    /// The body as the error that it has to be.
    var error: APIError {
        get throws { try JSONDecoder().decode(APIError.self, from: Data(body)) }
    }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(body))
    }

    var text: String { String(decoding: body, as: UTF8.self) }
}

/// A value as the body of a request.
func json(_ value: some Encodable) throws -> HTTPBody {
    .bytes([UInt8](try JSONEncoder().encode(value)))
}

func someStatus() -> NodeStatus {
    NodeStatus(
        epoch: Epoch(rawValue: 7), revision: 3, boot: "b", sequence: 5, agentVersion: "1",
        gate: GateObservation(), lease: .open, staged: [], staging: nil, active: nil, service: .in,
        tasks: [],
        health: nil, failures: [], diskFree: 1)
}
