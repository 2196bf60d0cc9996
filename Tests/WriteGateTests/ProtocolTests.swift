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
    private static func read(_ text: String) throws -> AdmissionRequest? {
        try AdmissionRequest.read(
            Array(text.replacingOccurrences(of: "\n", with: "\r\n").utf8), routes: GateRoutes())
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
                    worker: ProxyWorker(Array("4711".utf8)), keepAlive: true))
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
    ])
    func whatIsNotKnownToReadWrites(text: String, kind: RequestKind) throws {
        #expect(try Self.read(text)?.kind == kind)
    }

    @Test(arguments: [
        ("GET /admit\n\n", AdmissionRequest.Malformed.notARequest), ("\n\n", .notARequest),
        ("GET /admit HTTP/2\n\n", .notARequest),
        ("GET /admit HTTP/1.1\nno colon\n\n", .notARequest),
        ("GET / HTTP/1.1\n\n", .unknownPath), ("GET /admit/../x HTTP/1.1\n\n", .unknownPath),
        ("POST /admit HTTP/1.1\nContent-Length: 3\n\n", .hasBody),
        ("POST /admit HTTP/1.1\nTransfer-Encoding: chunked\n\n", .hasBody),
        ("GET /admit HTTP/1.1\n\nGET /admit HTTP/1.1\n\n", .hasBody),
    ])
    func whatCannotBeAnsweredIsRefused(text: String, reason: AdmissionRequest.Malformed) {
        #expect(throws: reason) { try Self.read(text) }
    }

    @Test func everyPartOfAQuestionIsWaitedForAndTooMuchIsNot() throws {
        let text = "GET /admit HTTP/1.1\r\nX-Request-Id: r1\r\n\r\n"
        for count in 0..<text.utf8.count {
            #expect(
                try AdmissionRequest.read(Array(text.utf8.prefix(count)), routes: GateRoutes())
                    == nil)
        }
        let endless = Array(
            repeating: UInt8(ascii: "x"), count: GateConfiguration.requestBytesAtMost)
        #expect(throws: AdmissionRequest.Malformed.tooLong) {
            try AdmissionRequest.read(endless, routes: GateRoutes())
        }
    }

    @Test(arguments: [
        ("<190>Nov 22 18:04:05 nginx: sluice1 done r1 4711", "r1"),
        ("<190>Nov 22 18:04:05 host nginx: sluice1 asked r1 4711", nil),
        ("<190>Nov 22 18:04:05 nginx: sluice1 done sluice1 done r2 1", "r2"),
    ])
    func aCompletionIsUnderstood(text: String, completed: String?) {
        let record = CompletionRecord(Array(text.utf8))
        #expect(record != nil)
        #expect(record?.completed?.text == completed)
    }

    @Test(arguments: [
        "", "sluice1", "sluice1 done", "sluice1 done r1", "sluice1 done r1 x",
        "sluice1 done r1 1 2",
        "sluice2 done r1 1", "sluice1 over r1 1", "sluice1 done r;1 1",
        "sluice1 done r1 1" + String(repeating: " ", count: 600),
    ])
    func whatIsNotACompletionIsIgnored(text: String) {
        #expect(CompletionRecord(Array(text.utf8)) == nil)
    }

    @Test func aRefusalCarriesNoSecondLine() {
        let answer = Answer.refuse(
            .readOnly, retryAfter: .milliseconds(1),
            message: "back soon\r\nX-Evil: 1\u{7f}\u{85} für alle")
        let text = String(decoding: answer.response(.authRequest, keepAlive: true), as: UTF8.self)
        #expect(
            text.components(separatedBy: "\r\n") == [
                "HTTP/1.1 403 Forbidden", "Content-Length: 0", "Retry-After: 1",
                "X-Sluice-Refused: read-only",
                "X-Sluice-Message: back soonX-Evil: 1 für alle", "", "",
            ])
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

    @Test func moreConnectionsThanAllowedAreClosedAtOnce() throws {
        let under = try gate { $0.connectionsAtMost = 1 }
        #expect(try ask(under.socket, "GET /admit HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 204"))
        let second = try RawSocket(under.directory.path + "/run/gate.sock")
        #expect(try ask(second, "", untilClosed: true).isEmpty)
        #expect(try ask(under.socket, "GET /admit HTTP/1.1\r\n\r\n").hasPrefix("HTTP/1.1 204"))
        #expect(under.gate.observe().totals.admitted == 2)
    }

    @Test(arguments: [
        "0.0.0.0:80", "192.168.0.1:80", "127.0.0.1", "127.0.0.1:0", "127.1:80", "::1:80",
    ])
    func onlyALoopbackAddressIsListenedOn(text: String) {
        #expect(GateConfiguration.Loopback(text) == nil)
    }

    @Test func theGateAnswersOnItsLoopbackAddressAsWell() async throws {
        let address = privateLoopbackAddress()
        let under = try gate { $0.loopback = GateConfiguration.Loopback("\(address):9747") }
        try under.gate.set(.refuse)
        let client = HTTPClient(address: address, port: 9747, timeout: .seconds(10))
        #expect(try await client.get("/forward-auth").status == 503)
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
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
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
