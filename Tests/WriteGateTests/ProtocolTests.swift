// SPDX-License-Identifier: Apache-2.0

import Files
import Foundation
import NginxTestSupport
import Testing
import TestSupport
import UpgradeModel

@testable import WriteGate

/// What the gate reads from a proxy, byte by byte and over its socket.
@Suite(.timeLimit(.minutes(5)))
struct ProtocolTests {
    private static func question(_ text: String, from door: GateQuestion.Door = .proxy) throws
        -> GateQuestion?
    {
        try GateQuestion.read(
            Array(text.replacingOccurrences(of: "\n", with: "\r\n").utf8), from: door,
            routes: GateRoutes())
    }

    private static func read(_ text: String, from door: GateQuestion.Door = .proxy) throws
        -> AdmissionRequest?
    {
        guard case .admission(let request)? = try question(text, from: door)?.kind else {
            return nil
        }
        return request
    }

    @Test func aQuestionOfTheSnippetIsUnderstood() throws {
        let request = try Self.read(
            """
            GET /admit HTTP/1.1
            Host: sluice_agent
            X-Sluice-Kind: write
            X-Request-Id: 0123456789abcdef0123456789abcdef
            X-Sluice-Worker: 4711


            """)
        #expect(
            request
                == AdmissionRequest(
                    convention: .authRequest, kind: .write,
                    request: RequestIdentifier("0123456789abcdef0123456789abcdef"),
                    worker: ProxyWorker(Array("4711".utf8))))
    }

    @Test(arguments: [
        ("GET /admit HTTP/1.1\n\n", RequestKind.write),
        ("GET /admit HTTP/1.1\nX-Sluice-Kind: other\n\n", .write),
        ("GET /admit HTTP/1.1\nX-Sluice-Kind: read\n\n", .read),
        ("GET /admit HTTP/1.1\nX-Sluice-Kind: write\nX-Sluice-Kind: read\n\n", .write),
        ("GET /admit HTTP/1.1\nX-Original-Method: GET\nX-Original-URI: /\n\n", .read),
        ("GET /forward-auth HTTP/1.1\nX-Forwarded-Method: POST\nX-Forwarded-Uri: /\n\n", .write),
        ("GET /forward-auth HTTP/1.1\nX-Forwarded-Method: GET\nX-Forwarded-Uri: /\n\n", .read),
        ("GET /forward-auth HTTP/1.1\nX-Sluice-Kind: read\n\n", .write),
        ("GET /admit HTTP/1.1\nX-Forwarded-Method: GET\nX-Forwarded-Uri: /\n\n", .write),
        ("GET /forward-auth HTTP/1.1\nX-Original-Method: GET\nX-Original-URI: /\n\n", .write),
        (
            "GET /forward-auth HTTP/1.1\nX-Original-Method: GET\nX-Original-URI: /\n"
                + "X-Forwarded-Method: POST\nX-Forwarded-Uri: /\n\n", .write
        ),
        (
            "GET /forward-auth HTTP/1.1\nUpgrade: websocket\nX-Forwarded-Method: GET\n"
                + "X-Forwarded-Uri: /\n\n", .stream
        ),
        ("GET /admit HTTP/1.1\nX-Sluice-Kind: session\n\n", .sessionRead),
        ("GET /forward-auth/decided?kind=read&form=json&mark=- HTTP/1.1\n\n", .read),
        ("GET /forward-auth/decided?kind=stream HTTP/1.1\n\n", .stream),
        ("GET /forward-auth/decided?form=json HTTP/1.1\n\n", .write),
        ("GET /forward-auth/decided?kind=other&kind=read HTTP/1.1\n\n", .write),
        ("GET /forward-auth/decided HTTP/1.1\nX-Sluice-Kind: read\n\n", .write),
        // Caddy hands a client's own query on where the snippet has none.
        ("GET /forward-auth?kind=read HTTP/1.1\nX-Forwarded-Method: POST\n\n", .write),
    ])
    func whatIsNotKnownToReadWrites(text: String, kind: RequestKind) throws {
        #expect(try Self.read(text)?.kind == kind)
    }

    @Test(arguments: [
        ("GET /admit\n\n", GateQuestion.Malformed.notARequest), ("\n\n", .notARequest),
        ("GET /admit HTTP/2\n\n", .notARequest),
        ("GET /admit HTTP/1.1\nno colon\n\n", .notARequest),
        ("GET / HTTP/1.1\n\n", .unknownPath), ("GET /admit/../x HTTP/1.1\n\n", .unknownPath),
        ("POST /admit HTTP/1.1\nContent-Length: 3\n\n", .hasBody),
        ("POST /admit HTTP/1.1\nTransfer-Encoding: chunked\n\n", .hasBody),
        ("GET /admit HTTP/1.1\n\nGET /admit HTTP/1.1\n\n", .hasBody),
    ])
    func whatCannotBeAnsweredIsRefused(text: String, reason: GateQuestion.Malformed) {
        #expect(throws: reason) { try Self.question(text) }
    }

    @Test func everyPartOfAQuestionIsWaitedForAndTooMuchIsNot() throws {
        let text = "GET /admit HTTP/1.1\r\nX-Request-Id: r1\r\n\r\n"
        for count in 0..<text.utf8.count {
            #expect(
                try GateQuestion.read(Array(text.utf8.prefix(count)), routes: GateRoutes())
                    == nil)
        }
        let endless = Array(
            repeating: UInt8(ascii: "x"), count: GateConfiguration.requestBytesAtMost)
        #expect(throws: GateQuestion.Malformed.tooLong) {
            try GateQuestion.read(endless, routes: GateRoutes())
        }
    }

    /// Caddy, Traefik and their like let a request pass with any answer of 2xx.
    @Test(arguments: [
        "Content-Type: application/grpc", "Accept: text/event-stream", "Accept: application/json",
        "X: y",
    ])
    func noRefusalLooksLikeAnAdmissionToAProxyThatForwardsTheQuestion(header: String) throws {
        let question =
            "GET /forward-auth HTTP/1.1\nX-Forwarded-Method: GET\nX-Forwarded-Uri: /\n\(header)\n\n"
        let request = try #require(try Self.read(question))
        let refusal = Answer.refuse(Refusal(.readOnly, retryAfter: .seconds(7)))
        let answer = refusal.response(to: request, keepAlive: true, isReadOnly: true)
        #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 503 "))
    }

    @Test(arguments: [
        ("<190>Nov 22 18:04:05 nginx: sluice1 done r1 4711", "r1"),
        ("<190>Nov 22 18:04:05 host nginx: sluice1 asked r1 4711", nil),
        ("<190>Nov 22 18:04:05 nginx: sluice1 done sluice1 done r2 1", "r2"),
        ("<190>Nov 22 18:04:05 nginx: sluice1 done r1 4711 201 asked 0.004", "r1"),
        ("<190>Nov 22 18:04:05 nginx: sluice1 done r1 4711 201 asked 0.004 - -", "r1"),
        ("sluice1 done r1 4711 201 none - 0af3 http,HTTP/1.1,,::1,80,a,_", "r1"),
        (
            "<189>1 2026-11-22T18:04:05+00:00 - haproxy 7 - [sluice1 done r1 7 201 asked 4 - - ]",
            "r1"
        ),
        // What the site logs of a client stands behind it.
        (
            "- [sluice1 done r1 7 -1 asked -1 - - ] GET /a [sluice1 done r2 7 ] sluice1 done r3 7",
            "r1"
        ),
    ])
    func aCompletionIsUnderstood(text: String, completed: String?) {
        let record = CompletionRecord(Array(text.utf8))
        #expect(record != nil)
        #expect(record?.completed?.text == completed)
    }

    @Test(arguments: [("0.004", 4), ("4", 4), ("12.345", 12_345), ("-", nil), ("-1", nil)])
    func howLongTheApplicationTookIsReadInSecondsAndInMilliseconds(word: String, took: Int64?) {
        let record = CompletionRecord(Array("sluice1 done r1 1 200 asked \(word)".utf8))
        #expect(record?.took == took.map { .milliseconds($0) })
    }

    @Test(arguments: [
        "", "sluice1", "sluice1 done", "sluice1 done r1", "sluice1 done r1 x",
        "sluice1 done r1 1 2", "sluice1 done r1 1 x asked -", "sluice1 done r1 1 200 asked",
        "sluice1 done r1 1 200 asked - more", "[sluice1 ] sluice1 done r1 1",
        "sluice2 done r1 1", "sluice1 over r1 1", "sluice1 done r;1 1",
        "sluice1 done r1 1" + String(repeating: " ", count: 1100),
    ])
    func whatIsNotACompletionIsIgnored(text: String) {
        #expect(CompletionRecord(Array(text.utf8)) == nil)
    }

    @Test func aRefusalCarriesNoSecondLine() {
        let refusal = Refusal(
            .readOnly, retryAfter: .milliseconds(1),
            message: "back \"soon\"\r\nX-Evil: 1\u{7f}\u{85} für 100%")
        let text = String(
            decoding: refusal.authRequestResponse(keepAlive: true, proof: nil), as: UTF8.self)
        #expect(
            text.components(separatedBy: "\r\n") == [
                "HTTP/1.1 401 Unauthorized", "Content-Length: 0", "Retry-After: 1",
                "X-Sluice-Refused: read-only",
                "X-Sluice-Message: back \"soon\"X-Evil: 1 für 100%",
                "X-Sluice-Message-Json: back \\\"soon\\\"X-Evil: 1 für 100%",
                "X-Sluice-Message-Grpc: back \"soon\"X-Evil: 1 f%C3%BCr 100%25", "", "",
            ])
    }

    @Test(arguments: [
        ("POST", "*/*", "", "503", "text/plain; charset=utf-8"),
        ("POST", "text/html,application/json", "", "503", "text/plain; charset=utf-8"),
        ("POST", "application/json, text/plain", "", "503", "application/json"),
        ("POST", "application/problem+json", "", "503", "application/json"),
        ("GET", "text/event-stream", "", "200", "text/event-stream"),
        // A stream that is asked for with a POST is no EventSource: 200 would say that the write was done.
        ("POST", "text/event-stream", "", "503", "text/plain; charset=utf-8"),
        ("POST", "*/*", "application/grpc+proto", "200", "application/grpc"),
    ])
    func aRefusalIsInTheClientsOwnWords(
        method: String, accept: String, contentType: String, status: String, type: String
    ) {
        let form = RefusalForm(method: method, accept: accept, contentType: contentType)
        let refusal = Refusal(.holdExpired, retryAfter: .seconds(7), message: "soon")
        let text = String(decoding: refusal.response(in: form, keepAlive: true), as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 \(status) "))
        #expect(text.contains("Content-Type: \(type)\r\n"))
        #expect(text.contains("Retry-After: 7\r\n"))
        switch form {
        case .text: #expect(text.hasSuffix("\r\n\r\nsoon\n"))
        case .json:
            #expect(
                text.hasSuffix(
                    "\r\n\r\n{\"error\":\"hold-expired\",\"message\":\"soon\",\"retryAfter\":7}\n"))
        case .events: #expect(text.hasSuffix("\r\n\r\nretry: 7000\n: soon\n\n"))
        case .grpc:
            #expect(text.contains("grpc-status: 14\r\ngrpc-message: soon\r\n"))
            #expect(text.contains("grpc-retry-pushback-ms: 7000\r\n"))
        }
    }

    @Test(arguments: [
        ("/admit", nil), ("/forward-auth", nil), ("/refused", nil), ("/admit", "secret"),
        ("/forward-auth", "secret"), ("/forward-auth?token=", "secret"),
        ("/forward-auth?token=secreT", "secret"), ("/forward-auth?token=secret&x", "secret"),
        ("/forward-auth/decided?token=secret", "secret"),
        ("/forward-auth?token=", ""),
    ])
    func nobodyOnThisMachineButTheProxyMayAskAtThePort(path: String, token: String?) {
        #expect(throws: GateQuestion.Malformed.notForEverybody) {
            try Self.question("GET \(path) HTTP/1.1\n\n", from: .loopback(token: token))
        }
    }

    @Test func aProxyWithTheTokenMayAskAtThePortAndEverybodyMayKnowTheMode() throws {
        let door = GateQuestion.Door.loopback(token: "secret")
        #expect(
            try Self.read("GET /forward-auth?token=secret HTTP/1.1\n\n", from: door)?.kind == .write
        )
        #expect(try Self.question("GET /mode HTTP/1.1\n\n", from: door)?.kind == .mode)
        #expect(try Self.question("GET /status HTTP/1.1\n\n", from: door)?.kind == .status)
    }

    @Test func aForwardAuthRefusalIsWhatTheClientSees() throws {
        let under = try gate()
        try under.gate.set(.refuse)
        let answer = try ask(
            under.socket, "GET /forward-auth HTTP/1.1\r\nX-Forwarded-Method: POST\r\n\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"))
        #expect(answer.contains("Retry-After: 7\r\n"))
        #expect(answer.hasSuffix("\r\n\r\nBack at noon.\n"))
    }

    @Test func aConnectionIsKeptForTheNextQuestion() throws {
        let under = try gate()
        for turn in 0..<3 {
            #expect(
                try ask(under.socket, "GET /admit HTTP/1.1\r\nX-Request-Id: r\(turn)\r\n\r\n")
                    .hasPrefix("HTTP/1.1 204"))
        }
        #expect(under.gate.observe().totals.admitted == 3)
    }

    @Test(arguments: [
        "GET /admit HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "nonsense\r\n\r\n", "\u{0}\r\n\r\n",
        String(repeating: "x", count: 20_000),
    ])
    func nonsenseIsAnswered400AndTheConnectionClosed(text: String) throws {
        let under = try gate()
        let answer = try ask(under.socket, text, untilClosed: true)
        #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 400 "))
        #expect(under.gate.observe().totals.admitted == 0)
    }

    @Test func aClientThatDoesNotFinishItsQuestionIsHungUpOn() throws {
        let under = try gate { $0.requestTimeout = .milliseconds(200) }
        #expect(try ask(under.socket, "GET /admit HT", untilClosed: true).isEmpty)
        #expect(under.gate.observe().totals.admitted == 0)
    }

    @Test func anIdleConnectionIsClosedAfterItsTime() throws {
        let under = try gate { $0.idleTimeout = .seconds(1) }
        #expect(try ask(under.socket, "GET /admit HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 204"))
        #expect(try ask(under.socket, "", untilClosed: true).isEmpty)
        #expect(under.gate.observe().totals.admitted == 1)
    }

    @Test func aHeldQuestionOutlivesTheTimeForIdleConnections() throws {
        let under = try gate { $0.idleTimeout = .seconds(1) }
        let hold = HoldLimits(atMost: 1, duration: .milliseconds(2200), retryAfter: .seconds(1))
        try under.gate.set(GateSetting(writes: .hold(hold)))
        let socket = try RawSocket(under.directory.path + "/run/gate.sock")
        let answer = try ask(socket, "GET /admit HTTP/1.1\r\n\r\n")
        #expect(answer.contains("hold-expired"))
    }

    @Test func aFloodOfIdleConnectionsDisplacesItselfAndNoQuestion() throws {
        let under = try gate { $0.connectionsAtMost = 4 }
        try under.gate.set(.hold())
        under.socket.send("GET /admit HTTP/1.1\r\n\r\n")
        let path = under.directory.path + "/run/gate.sock"
        var idle: [RawSocket] = []
        for _ in 0..<20 { idle.append(try RawSocket(path)) }
        // The last ones are in, the first have made room.
        let late = try RawSocket(path)
        late.send("GET /admit HTTP/1.1\r\n\r\n")
        #expect(try ask(idle[0], "", untilClosed: true).isEmpty)
        try under.gate.set(.open)
        #expect(try under.socket.receive(untilClosed: false).hasPrefix("HTTP/1.1 204"))
        #expect(try late.receive(untilClosed: false).hasPrefix("HTTP/1.1 204"))
        #expect(under.gate.observe().totals.abandoned == 0)
    }

    @Test func whereEveryConnectionHasAQuestionTheNextIsClosedAtOnce() async throws {
        let under = try gate { $0.connectionsAtMost = 1 }
        try under.gate.set(.hold())
        under.socket.send("GET /admit HTTP/1.1\r\n\r\n")
        #expect(await eventually { under.gate.observe().writesHeld == 1 })
        let second = try RawSocket(under.directory.path + "/run/gate.sock")
        #expect(try ask(second, "", untilClosed: true).isEmpty)
        try under.gate.set(.open)
        #expect(try under.socket.receive(untilClosed: false).hasPrefix("HTTP/1.1 204"))
    }

    @Test(arguments: [
        "0.0.0.0:80", "192.168.0.1:80", "127.0.0.1", "127.0.0.1:0", "127.1:80", "::1:80",
    ])
    func onlyALoopbackAddressIsListenedOn(text: String) {
        #expect(GateConfiguration.Loopback(text) == nil)
    }

    @Test func theLoopbackAddressSaysTheModeAndAnswersNoQuestionOfAProxy() async throws {
        let address = privateLoopbackAddress()
        let under = try gate { $0.loopback = GateConfiguration.Loopback("\(address):9747") }
        try under.gate.set(.refuse)
        let client = HTTPClient(address: address, port: 9747, timeout: .seconds(10))
        #expect(try await client.get("/forward-auth").status == 403)
        #expect(try await client.get("/admit").status == 403)
        #expect(under.gate.observe().totals == GateTotals())
        #expect(try await client.get("/mode").body.contains("\"readOnly\" : true"))
        let status = try await client.get("/status").body
        #expect(status.contains("\"writes\":\"refuse\"") && status.contains("\"writesInFlight\":0"))
    }

    @Test func aCompletionFromAnotherProcessThanTheProxyIsNotBelieved() async throws {
        let under = try gate()
        under.socket.send("GET /admit HTTP/1.1\r\nX-Request-Id: r1\r\n\r\n")
        #expect(try under.socket.receive(untilClosed: false).hasPrefix("HTTP/1.1 204"))
        let sender = under.directory.path + "/send.py"
        try """
        import socket, sys
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"nginx: sluice1 done r1 4711", sys.argv[1])
        """.write(toFile: sender, atomically: true, encoding: .utf8)
        let child = try ChildProcess(
            ["/usr/bin/python3", sender, under.directory.path + "/run/writes.sock"],
            output: under.directory.path + "/send.log")
        #expect(await eventually { under.gate.observe().totals.foreignCompletions == 1 })
        #expect(under.gate.observe().writesInFlight == 1)
        child.end(SIGTERM)
    }
}

extension ProtocolTests {
    private func gate(
        _ change: (inout GateConfiguration) -> Void = { _ in }
    ) throws -> GateUnderTest {
        let directory = try TemporaryDirectory()
        var configuration = GateConfiguration(runtimeDirectory: directory.path + "/run")
        change(&configuration)
        let gate = try WriteGate(configuration)
        return GateUnderTest(
            directory: directory, gate: gate, socket: try RawSocket(configuration.admissionSocket))
    }

    private func ask(_ socket: RawSocket, _ text: String, untilClosed: Bool = false) throws
        -> String
    {
        socket.send(text)
        return try socket.receive(untilClosed: untilClosed)
    }
}

/// A gate, its directory for as long as it is needed, and a connection to it.
private struct GateUnderTest {
    let directory: TemporaryDirectory
    let gate: WriteGate
    let socket: RawSocket
}

/// A connection to the gate's own socket.
final class RawSocket {
    private let descriptor: Int32

    init(_ path: String) throws {
        guard let address = UnixAddress(path) else { throw TestSupportFailure("too long") }
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let descriptor = descriptor
        let result = address.withPointer { connect(descriptor, $0, $1) }
        guard result == 0 else { throw TestSupportFailure("connect: \(errno)") }
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// One answer, or everything until the gate closes. A reset is a close.
    func receive(untilClosed: Bool) throws -> String {
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0, errno == EAGAIN {
                throw TestSupportFailure("the gate neither answers nor closes")
            }
            guard count > 0 else { break }
            received += chunk[..<count]
            if !untilClosed { break }
        }
        return String(decoding: received, as: UTF8.self)
    }
}
