// SPDX-License-Identifier: Apache-2.0

import Foundation
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel
import WriteGate

/// What sites have in their servers, around the snippets.
@Suite(.timeLimit(.minutes(5)))
struct SiteTests {
    /// Rewrites that sites have at server level. nginx runs them for the question to the agent as well.
    @Test(arguments: [
        "root FILES; if (!-e $request_filename) { rewrite ^ /index.php last; } location = /index.php { proxy_pass APP; }",
        "rewrite ^([^.]*[^/])$ $1/ permanent;",
        "rewrite ^/(.*)$ /front/$1 last;",
        "if ($host != test.example) { return 301 http://test.example$request_uri; }",
        "if ($request_method !~ ^(GET|HEAD|POST)$) { return 405; }",
        "if ($uri !~ ^/page/) { return 444; }",
        "if ($http_user_agent = \"\") { set $bot 1; } location /page { if ($bot) { return 403; } proxy_pass APP; }",
        "root FILES; location /page/ { try_files $uri @app; } location @app { proxy_pass APP; }",
    ])
    func noRewriteBelowTheSnippetTakesTheQuestionElsewhere(lines: String) async throws {
        let node = try await SiteNode(after: lines + " location / { proxy_pass APP; }")
        let gate = try node.gate()
        let client = node.client
        #expect(try await client.get("/_sluice/health").body == "in service\n")
        // Some of these sites answer a browser without a name with 403, after they have asked.
        let agent = ["User-Agent": "test"]
        #expect(try await client.send("POST", "/page/", headers: agent, body: "x").status == 200)
        #expect(await eventually { gate.observe().totals.completed == 1 })
        #expect(gate.observe().totals.unasked == 0)
        #expect(gate.observe().totals.admitted == 1)
        try gate.set(.refuse)
        let response = try await client.send("POST", "/page/", headers: agent, body: "x")
        #expect(response.status == 503)
        #expect(response.headers["x-sluice-refused"] == "read-only")
        #expect(node.application.writes.count == 1)
    }

    @Test func aRewriteAboveTheSnippetIsFoundOutByTheProbeAndByTheCount() async throws {
        let node = try await SiteNode(
            before: "root FILES; if (!-e $request_filename) { rewrite ^ /index.php last; }",
            after: "location / { proxy_pass APP; }")
        let gate = try node.gate(.refuse)
        #expect(try await node.probe(gate) == .notAsked(status: 200))
        #expect(try await node.client.post("/page", "").status == 200)
        // The probe is nobody's write.
        #expect(await eventually { gate.observe().totals.unasked == 1 })
        #expect(gate.servers.map(\.address) == [node.nginx.address])
    }

    @Test(arguments: [
        ("", "location / { proxy_pass APP; }"),
        ("error_page 403 /403.html;", "location / { proxy_pass APP; }"),
        ("", "if ($uri ~ ^/_) { return 404; } location / { proxy_pass APP; }"),
        (
            "",
            "error_page 500 502 503 504 /50x.html; proxy_intercept_errors on; location / { proxy_pass APP; }"
        ),
    ])
    func theProbeSaysWhetherAWriteWouldPass(before: String, after: String) async throws {
        let node = try await SiteNode(before: before, after: after)
        let gate = try node.gate()
        // A path that the site lets its clients ask for.
        let path = after.contains("^/_") ? "/entries" : "/_sluice/probe"
        #expect(try await node.probe(gate, path: path) == .open)
        try gate.set(.hold())
        #expect(try await node.probe(gate, path: path) == .closed)
        try gate.set(.refuse)
        #expect(try await node.probe(gate, path: path) == .closed)
        #expect(node.application.requests.isEmpty)
        #expect(gate.observe().totals.admitted == 0)
    }

    @Test(arguments: [
        (
            "location / { satisfy any; allow 127.0.0.0/8; deny all; proxy_pass APP; }",
            GateProbe.Answer.notAsked(status: 200)
        ),
        ("location / { auth_request off; proxy_pass APP; }", .notAsked(status: 200)),
        ("location / { error_page 404 /404.html; proxy_pass APP; }", .disguised(status: 401)),
    ])
    func theProbeNamesWhatIsWrong(after: String, verdict: GateProbe.Answer) async throws {
        let node = try await SiteNode(after: after)
        let gate = try node.gate(.refuse)
        let said = try await node.probe(gate)
        #expect(said == verdict)
        #expect(!said.problem.isEmpty)
    }

    @Test(arguments: [
        "location / { return 204; }", "location / { deny all; proxy_pass APP; }",
        "if ($request_method = POST) { return 405; } location / { proxy_pass APP; }",
    ])
    func aProbeThatTheProxyAnswersByItselfSaysNothingOfTheGate(after: String) async throws {
        let node = try await SiteNode(after: after)
        let gate = try node.gate(.refuse)
        let probe = gate.makeProbe()
        let headers = Dictionary(uniqueKeysWithValues: probe.headers.map { ($0.name, $0.value) })
        let response = try await node.client.send(GateProbe.method, "/", headers: headers)
        #expect(await eventually { gate.passage(of: probe) != nil })
        let verdict = probe.verdict(
            wasAsked: gate.wasAsked(about: probe), passage: gate.passage(of: probe),
            status: response.status, headers: response.headers)
        #expect(verdict == .stopped(status: response.status))
        #expect(node.application.requests.isEmpty && gate.servers == [])
    }

    @Test func theGateKnowsWhereWritesComeInAlsoAfterARestart() async throws {
        let node = try await SiteNode(before: "server_name shop.example;")
        let gate = try node.gate()
        #expect(gate.servers == [])
        for _ in 0..<3 { _ = try await node.client.post("/", "x") }
        #expect(await eventually { gate.observe().totals.completed == 3 })
        #expect(gate.servers.map(\.host) == ["test.example"])
        #expect(gate.servers.map(\.name) == ["shop.example"])
        #expect(gate.servers.map(\.destination) == ["\(node.nginx.address):8080"])
        gate.stop()
        let next = try node.gate()
        #expect(next.servers.map(\.destination) == ["\(node.nginx.address):8080"])
    }

    @Test func nobodyCanForgeAnAnswerToAProbe() async throws {
        // The application sends back what it gets.
        let node = try await SiteNode(
            after: "location / { auth_request off; proxy_pass APP; }",
            reply: { _ in
                .init(
                    status: 503,
                    headers: [
                        "X-Sluice-Refused": "probe-closed", "Retry-After": "1",
                        "X-Sluice-Proof": "guess",
                    ],
                    body: "")
            })
        let gate = try node.gate(.refuse)
        #expect(try await node.probe(gate) == .notAsked(status: 503))
        // And a mark that the gate does not know is a write like others.
        let other = try await SiteNode()
        let otherGate = try other.gate(.refuse)
        let response = try await other.client.send(
            "POST", "/", headers: ["X-Sluice-Probe": "0123456789abcdef0123456789abcdef"], body: "x")
        #expect(response.headers["x-sluice-refused"] == "read-only")
        #expect(otherGate.observe().totals.writesRefused.closed == 1)
    }

    private static let headers = """
        add_header Access-Control-Allow-Origin https://app.example always;
        add_header Strict-Transport-Security "max-age=31536000" always;
        """

    @Test(arguments: [true, false])
    func aRefusalHasTheSitesHeadersWhereverTheyStand(isAbove: Bool) async throws {
        let location = "location / { proxy_pass APP; }"
        let node = try await SiteNode(
            before: isAbove ? Self.headers : "", after: isAbove ? location : Self.headers + location
        )
        let gate = try node.gate(.refuse)
        let response = try await node.client.post("/entries")
        #expect(response.status == 503)
        #expect(response.headers["access-control-allow-origin"] == "https://app.example")
        #expect(response.headers["strict-transport-security"] == "max-age=31536000")
        #expect(response.headers["retry-after"] == "7")
        #expect(response.headers["x-sluice-refused"] == "read-only")
        #expect(response.headers["cache-control"] == "no-store")
        #expect(response.body == "Back at noon.\n")
        gate.stop()
    }

    @Test func theHeadersOfTheHttpBlockStayOnEveryAnswer() async throws {
        let node = try await SiteNode(http: Self.headers)
        let gate = try node.gate(.refuse)
        for method in ["GET", "POST"] {
            let response = try await node.client.send(method, "/entries")
            #expect(response.headers["strict-transport-security"] == "max-age=31536000")
        }
        gate.stop()
    }

    @Test func theSitesOwnPagesForForbiddenAndForLoginStayAsTheyAre() async throws {
        let node = try await SiteNode(
            before: "error_page 403 /403.html;",
            after: """
                location = /403.html { internal; auth_request off; return 200 "the site's own page"; }
                location /closed { deny all; proxy_pass APP; }
                location /login { auth_basic "who are you"; auth_basic_user_file FILES/none; proxy_pass APP; }
                location / { proxy_pass APP; }
                """,
            reply: { _ in
                .init(status: 401, headers: ["WWW-Authenticate": "Basic realm=app"], body: "no")
            })
        let gate = try node.gate()
        let forbidden = try await node.client.get("/closed")
        #expect(forbidden.status == 403 || forbidden.body == "the site's own page")
        #expect(forbidden.body.contains("the site's own page"))
        let login = try await node.client.get("/login")
        #expect(login.status == 401)
        #expect(login.headers["www-authenticate"] == "Basic realm=\"who are you\"")
        #expect(login.headers["x-sluice-refused"] == nil)
        let own = try await node.client.get("/own")
        #expect(own.status == 401 && own.body == "no")
        gate.stop()
    }

    /// Without `recursive_error_pages on` nginx has followed its one error page by then, and answers 502.
    @Test(arguments: [
        ("text/html", "text/plain; charset=utf-8", "Back at noon.\n"),
        (
            "application/json", "application/json",
            "{\"error\":\"read-only\",\"message\":\"Back at noon.\",\"retryAfter\":7}\n"
        ),
    ])
    func anAgentThatIsKilledBetweenItsNoAndItsWordsLeavesARefusal(
        accept: String, type: String, body: String
    ) async throws {
        let node = try await SiteNode(before: "recursive_error_pages on;")
        let said = [
            "X-Sluice-Refused": "read-only", "Retry-After": "7",
            "X-Sluice-Message": "Back at noon.",
            "X-Sluice-Message-Json": "Back at noon.",
        ]
        let agent = try RecordingApplication(at: node.runtime + "/gate.sock") { question in
            question.target == "/admit"
                ? .init(status: 401, headers: said, body: "") : .init(body: "", hangsUp: true)
        }
        let response = try await node.client.send(
            "POST", "/entries?a=b", headers: ["Accept": accept], body: "x")
        #expect(agent.requests.map(\.target) == ["/admit", "/refused"])
        #expect(response.status == 503)
        #expect(response.headers["content-type"] == type)
        #expect(response.headers["retry-after"] == "7")
        #expect(response.headers["x-sluice-refused"] == "read-only")
        #expect(response.body == body)
        #expect(node.application.requests.isEmpty)
    }

    /// With `recursive_error_pages on` a 401 that has a page would come to that page again and again.
    @Test func aSiteWhoseErrorPagesMayHaveErrorPagesIsAnsweredAsOthersAre() async throws {
        let node = try await SiteNode(
            before: "recursive_error_pages on;",
            after: """
                location /login { auth_basic "who are you"; auth_basic_user_file FILES/none; proxy_pass APP; }
                location / { proxy_pass APP; }
                """)
        let login = try await node.client.get("/login")
        #expect(login.status == 401)
        #expect(login.headers["www-authenticate"] == "Basic realm=\"who are you\"")
        // Without an agent, by the flag.
        try node.directory.write("", to: "run/read-only")
        let alone = try await node.client.post("/entries")
        #expect(alone.status == 503 && alone.headers["x-sluice-refused"] == "agent-gone")
        #expect(node.application.requests.isEmpty)
        let gate = try node.gate(.refuse)
        let refused = try await node.client.post("/entries")
        #expect(refused.status == 503 && refused.body == "Back at noon.\n")
        gate.stop()
    }

    @Test func anUploadLargerThanTheServersLimitIsHeldAndCountedWhereItsLocationAllowsIt()
        async throws
    {
        let node = try await SiteNode(
            before: "client_max_body_size 1k;",
            after:
                "location /upload { client_max_body_size 20m; proxy_pass APP; } location / { proxy_pass APP; }"
        )
        let gate = try node.gate(.hold())
        let body = String(repeating: "x", count: 3_000_000)
        async let upload = node.client.post("/upload", body)
        #expect(await eventually { gate.observe().writesHeld == 1 })
        try gate.set(.open)
        #expect(try await upload.status == 200)
        #expect(node.application.writes.map(\.body.utf8.count) == [3_000_000])
        #expect(await eventually { gate.observe().totals.completed == 1 })
        #expect(try await node.client.post("/other", body).status == 413)
        try gate.set(.refuse)
        let refused = try await node.client.post("/upload", body)
        #expect(refused.status == 503 && refused.headers["retry-after"] == "7")
    }

    @Test(arguments: [
        (
            "application/json", "application/json",
            "{\"error\":\"read-only\",\"message\":\"Back at noon.\",\"retryAfter\":7}\n"
        ),
        ("text/html,*/*", "text/plain; charset=utf-8", "Back at noon.\n"),
    ])
    func aRefusalIsInTheClientsOwnWords(accept: String, type: String, body: String) async throws {
        let node = try await SiteNode()
        let gate = try node.gate(.refuse)
        // A large body is refused without being read, in nginx's own copy of the words.
        for size in [1, 2_000_000] {
            let response = try await node.client.send(
                "POST", "/entries.json", headers: ["Accept": accept],
                body: String(repeating: "x", count: size))
            #expect(response.status == 503)
            #expect(response.headers["content-type"] == type)
            #expect(response.body == body)
            #expect(response.headers["retry-after"] == "7")
        }
        gate.stop()
        let alone = try await node.client.send(
            "POST", "/entries", headers: ["Accept": accept], body: "x")
        #expect(alone.status == 503 && alone.headers["content-type"] == type)
        #expect(alone.headers["retry-after"] == "5")
    }

    @Test func anEventSourceIsToldToComeBackAndAWriteThatWantsAStreamIsNotToldThatItWasDone()
        async throws
    {
        let node = try await SiteNode()
        var setting = GateSetting.hold()
        setting.readHold = HoldLimits(atMost: 0, duration: .seconds(1), retryAfter: .seconds(3))
        let gate = try node.gate(setting)
        let headers = ["Accept": "text/event-stream"]
        let response = try await node.client.send("GET", "/events", headers: headers)
        #expect(response.status == 200)
        #expect(response.headers["content-type"] == "text/event-stream")
        #expect(response.body.hasPrefix("retry: 3000\n"))
        gate.stop()
        let alone = try await node.client.send("GET", "/events", headers: headers)
        #expect(alone.status == 200 && alone.body.hasPrefix("retry: 5000\n"))
        let write = try await node.client.send("POST", "/events", headers: headers, body: "x")
        #expect(write.status == 503)
        #expect(node.application.requests.isEmpty)
    }

    @Test func aWebSocketOfTheWindowWaitsAndAnOpenOneIsNoWriteInFlight() async throws {
        let latch = Latch()
        let node = try await SiteNode(
            after: """
                location / { proxy_pass APP; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
                """,
            reply: { _ in .init(body: "stays", gate: latch) })
        let gate = try node.gate()
        let headers = ["Upgrade": "websocket"]
        let old = try node.client.start("GET", "/chat", headers: headers)
        #expect(await eventually { gate.observe().streamsOpen == 1 })
        // It is let through before the application has it.
        #expect(await eventually { node.application.requests.count == 1 })
        #expect(gate.observe().writesInFlight == 0)
        try gate.set(.hold())
        #expect(gate.observe().isDrained)
        let new = try node.client.start("GET", "/chat", headers: headers)
        #expect(await eventually { gate.observe().writesHeld == 1 })
        #expect(node.application.requests.count == 1)
        try gate.set(.open)
        #expect(await eventually { gate.observe().streamsOpen == 2 })
        latch.open()
        #expect(try old.response().status == 200)
        #expect(try new.response().status == 200)
        #expect(await eventually { gate.observe().streamsOpen == 0 })
        #expect(gate.observe().totals.unasked == 0)
    }

    @Test func readsOfThoseWithASessionAreHeldAndOthersAreServed() async throws {
        let node = try await SiteNode(sessionCookie: "shop")
        var setting = GateSetting.hold()
        setting.sessionReadHold = HoldLimits(
            atMost: 10, duration: .seconds(60), retryAfter: .seconds(3))
        let gate = try node.gate(setting)
        let held = try node.client.start("GET", "/basket", headers: ["Cookie": "a=b; shop=1234"])
        #expect(await eventually { gate.observe().readsHeld == 1 })
        #expect(try await node.client.get("/").status == 200)
        #expect(
            try await node.client.send("GET", "/", headers: ["Cookie": "sessionid=1"]).status == 200
        )
        try gate.set(.hold())
        #expect(try held.response().status == 200)
        try gate.set(setting)
        gate.stop()
        let alone = try await node.client.send("GET", "/", headers: ["Cookie": "shop=1"])
        #expect(alone.status == 503)
        #expect(try await node.client.get("/").status == 200)
        // What was held so is held again by the next agent.
        #expect(try node.gate().observe().setting == setting)
    }
}
