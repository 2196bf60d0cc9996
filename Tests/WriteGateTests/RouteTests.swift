// SPDX-License-Identifier: Apache-2.0

import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel

@testable import WriteGate

@Suite(.timeLimit(.minutes(5)))
struct RouteTests {
    private static let routes = GateRoutes(
        reading: ["POST /api/search*", "POST /graphql/query"].compactMap(GateRoute.init),
        writing: ["GET /unsubscribe", "GET /cron/*"].compactMap(GateRoute.init))

    /// The same cases against the gate's own rules and against nginx with the generated map.
    private static let cases: [(method: String, target: String, kind: RequestKind)] = [
        ("GET", "/", .read), ("HEAD", "/", .read), ("OPTIONS", "/", .read), ("POST", "/", .write),
        ("PUT", "/entries/1", .write), ("PATCH", "/entries/1", .write),
        ("DELETE", "/entries/1", .write),
        ("PROPFIND", "/", .read), ("REPORT", "/", .read), ("SEARCH", "/", .read),
        ("QUERY", "/", .read), ("PROPPATCH", "/", .write), ("MKCOL", "/", .write),
        ("POST", "/api/search", .read), ("POST", "/api/search?q=1", .read),
        ("POST", "/api/search/x", .read),
        ("POST", "/api/search/../entries", .write), ("POST", "/api/search/%2e%2e/entries", .write),
        ("POST", "//api///search", .read), ("PUT", "/api/search", .write),
        ("POST", "/graphql/query", .read), ("POST", "/graphql/query/x", .write),
        ("POST", "/graphql/query%0a", .write),
        ("GET", "/unsubscribe", .write), ("GET", "/unsubscribe?id=1", .write),
        ("HEAD", "/unsubscribe", .write),
        ("GET", "/%75nsubscribe", .write), ("GET", "/./unsubscribe", .write),
        ("GET", "/unsubscribed", .read),
        ("GET", "/cron/nightly", .write),
    ]

    @Test(arguments: cases) func theGateDecides(method: String, target: String, kind: RequestKind) {
        #expect(Self.routes.kind(method: method, target: target) == kind)
    }

    @Test func nginxDecidesTheSameWithTheGeneratedMap() async throws {
        let node = try await GateNode(routes: Self.routes)
        let gate = try node.gate(.refuse)
        for (method, target, kind) in Self.cases {
            let response = try await node.client.send(method, target)
            let wasRefused = response.headers["x-sluice-refused"] != nil
            #expect(wasRefused == (kind == .write), "\(method) \(target) got \(response.status)")
        }
        gate.stop()
    }

    @Test func aGetThatWritesIsHeldAndCounted() async throws {
        let node = try await GateNode(routes: Self.routes)
        let gate = try node.gate(.hold())
        let held = try node.client.start("GET", "/unsubscribe?id=7")
        #expect(await eventually { gate.observe().writesHeld == 1 })
        #expect(try await node.client.post("/api/search", "q").status == 200)
        #expect(node.application.requests.map(\.target) == ["/api/search"])
        try gate.set(.open)
        #expect(try held.response().status == 200)
        #expect(await eventually { gate.observe().totals.completed == 1 })
        #expect(gate.observe().writesInFlight == 0)
    }

    @Test func aClientCannotSayWhatItsRequestDoes() async throws {
        let node = try await GateNode()
        let gate = try node.gate(.refuse)
        let response = try await node.client.send(
            "POST", "/entries",
            headers: [
                "X-Sluice-Kind": "read", "X-Original-Method": "GET",
                "X-HTTP-Method-Override": "GET",
            ])
        #expect(response.status == 503)
        #expect(try await node.client.post("/_sluice/admit").status == 404)
        #expect(node.application.requests.isEmpty)
        gate.stop()
    }

    @Test(arguments: [
        "", "POST", "POST /a b", "post /a", "POST a", "POST /a*b", "POST /**", "POST /a/../b",
        "POST //a",
        "POST /a\"; evil", "POST /a;b", "POST  /a",
    ])
    func whatIsNotARouteIsRefused(text: String) {
        #expect(GateRoute(text) == nil)
    }

    @Test func theGeneratedMapIsExactAboutTheEndOfAPath() {
        #expect(
            Self.routes.nginxMap == """
                map "$request_method $uri" $sluice_kind {
                    default $sluice_kind_by_method;
                    "~^(GET|HEAD) /unsubscribe\\z" write;
                    "~^(GET|HEAD) /cron/" write;
                    "~^POST /api/search" read;
                    "~^POST /graphql/query\\z" read;
                }

                """)
    }
}
