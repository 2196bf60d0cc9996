// SPDX-License-Identifier: Apache-2.0

import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// Nothing that a client sends turns a question to the gate into one that is not answered: a write that passes is counted, and one that
/// does not is refused by the gate, in its words.
@Suite(.timeLimit(.minutes(5)))
struct ClientInputTests {
    struct Input: Sendable {
        var method = "POST"
        var target = "/entries"
        var headers: [String: String] = [:]
    }

    /// - Parameter size: as long as the proxy takes.
    private static func inputs(_ size: Int) -> [Input] {
        let long = String(repeating: "a", count: size)
        let half = String(repeating: "b", count: size / 2)
        let many = (0..<60).map { ("X-Filler-\($0)", String(repeating: "f", count: size / 80)) }
        return [
            Input(headers: ["X-Sluice-Probe": long]),
            Input(headers: ["X-Sluice-Probe": "0\t\u{7f}\"'<>{}$\\ ü"]),
            Input(headers: ["Accept": half, "Content-Type": half]),
            Input(headers: ["Accept": "application/json;" + half, "X-Sluice-Probe": half]),
            Input(headers: ["Host": String(repeating: "a.", count: size / 2) + "example"]),
            Input(headers: ["Idempotency-Key": half, "Cookie": "sessionid=" + half]),
            Input(headers: [
                "X-Sluice-Kind": half, "X-Sluice-Worker": "x", "X-Sluice-Refused": "hold-full",
                "X-Sluice-Session-Marks": "cookie:a", "X-Sluice-Message": half,
                "X-Sluice-Proof": "x", "X-Sluice-Mode": "normal", "X-Request-Id": "x;y",
            ]),
            Input(headers: ["X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/" + long]),
            Input(headers: ["Authorization": half, "User-Agent": half]),
            Input(headers: Dictionary(uniqueKeysWithValues: many)),
            Input(target: "/" + long), Input(target: "/entries?kind=read&mark=" + long),
            Input(target: "/%2e%2e%2f%00%ff?\"'{}"),
            Input(method: "POST" + String(repeating: "A", count: 2000)),
            Input(method: "M-SEARCH", headers: ["Content-Type": "text/plain"]),
        ]
    }

    /// What the proxies themselves do not take does not come as far as the gate or the application.
    private static func isProxysOwn(_ response: HTTPClient.Response) -> Bool {
        (400..<500).contains(response.status) && response.headers["x-sluice-refused"] == nil
    }

    @Test(arguments: Front.allCases)
    func everyWriteIsAskedAboutAndCountedOrRefusedByTheGate(front: Front) async throws {
        let node = try await front.roomyNode()
        let gate = try node.gate()
        var passed = 0
        for input in Self.inputs(front.longest) {
            let what = Comment(rawValue: "\(input)".prefix(200).description)
            try gate.set(.open)
            let response = try await node.client.send(
                input.method, input.target, headers: input.headers, body: "x")
            let isTaken = !Self.isProxysOwn(response)
            if isTaken {
                #expect(response.status == 200, what)
                passed += 1
            }
            #expect(node.application.requests.count == passed, what)
            #expect(gate.observe().totals.admitted == passed, what)
            try gate.set(.refuse)
            let refused = try await node.client.send(
                input.method, input.target, headers: input.headers, body: "x")
            if isTaken {
                #expect(refused.status == 503, what)
                #expect(refused.headers["x-sluice-refused"] == "read-only", what)
            }
            #expect(node.application.requests.count == passed, what)
        }
        #expect(passed >= 12)
        #expect(gate.observe().totals.unasked == 0)
        guard front.reportsEnds else { return }
        #expect(await eventually { gate.observe().totals.completed == passed })
        #expect(gate.observe().writesInFlight == 0)
    }

    /// Methods that no form and no script sends, and forms of a target that only proxies get: what a proxy takes of them is a write.
    @Test(arguments: Front.allCases)
    func everyMethodThatIsNotSafeIsAskedAbout(front: Front) async throws {
        let node = try await front.node()
        let gate = try node.gate(.refuse)
        var client = node.client
        client.timeout = .seconds(5)
        let methods = [
            "CONNECT", "get", "Post", "BREW", "M-SEARCH", "_",
        ]
        let targets = ["/entries", "*", "test.example:8080", "http://test.example/entries"]
        for setting in [GateSetting.refuse, .open] {
            try gate.set(setting)
            for method in methods {
                for target in targets {
                    // What the proxy itself does not understand it may answer by hanging up.
                    _ = try? await client.send(method, target, body: "x")
                }
            }
            if setting == .refuse { #expect(node.application.requests.isEmpty) }
        }
        #expect(!node.application.requests.isEmpty)
        #expect(gate.observe().totals.admitted >= node.application.requests.count)
        #expect(gate.observe().totals.unasked == 0)
        guard front.reportsEnds else { return }
        #expect(await eventually { gate.observe().writesInFlight == 0 })
        #expect(gate.observe().totals.completed == gate.observe().totals.admitted)
    }

    /// Reads that are held are asked about as well.
    @Test(arguments: Front.allCases)
    func everyHeldReadWaitsForTheGate(front: Front) async throws {
        let node = try await front.roomyNode()
        var taken: [Input] = []
        for input in Self.inputs(front.longest) where input.method == "POST" {
            let response = try await node.client.get(input.target, headers: input.headers)
            if response.status == 200 { taken.append(input) }
        }
        #expect(taken.count >= 11)
        let before = node.application.requests.count
        let gate = try node.gate(.holdAll)
        var held: [StartedRequest] = []
        for input in taken {
            held.append(try node.client.start("GET", input.target, headers: input.headers))
            #expect(await eventually { gate.observe().readsHeld == held.count })
        }
        #expect(node.application.requests.count == before)
        try gate.set(.open)
        for request in held { #expect(try request.response().status == 200) }
        #expect(node.application.requests.count == before + taken.count)
    }
}

extension Front {
    /// How long a header or a path of a client can be there.
    fileprivate var longest: Int {
        switch self {
        case .nginx, .caddy: 40_000
        case .haproxy: 7_000
        }
    }

    /// One that takes large headers, as sites with large cookies have it; HAProxy and Caddy as they are.
    fileprivate func roomyNode() async throws -> any GatedNode {
        if self != .nginx { return try await node() }
        return try await SiteNode(http: "large_client_header_buffers 8 64k;")
    }
}
