// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import Foundation
import Logging
import NIOCore
import NIOEmbedded
import RunStore
import StoreTestSupport
import Synchronization
import Testing
import UpgradeModel

@testable import ControlServer

@Suite struct PatienceTests {
    private static var short: Patience {
        var patience = Patience()
        patience.interval = .milliseconds(20)
        return patience
    }

    @Test(arguments: ["", "GET /hea"])
    func ofAStrangerWhoSaysNothingOrSaysItByteByByteEnds(_ beginning: String) async throws {
        var patience = Self.short
        patience.stranger = .milliseconds(100)
        try await RunningServer.run(patience: patience) { server in
            let connection = try RawConnection(server.origin)
            connection.send(beginning)
            #expect(await connection.readToEnd() == "")
        }
    }

    @Test
    func withATokenEndsWhenABodyTricklesIn() async throws {
        var patience = Self.short
        patience.body = .milliseconds(100)
        try await RunningServer.run(patience: patience) { server in
            let connection = try RawConnection(server.origin)
            let token = server.operatorToken.text
            connection.send(
                "PUT \(Path.blob(.sha256(of: "x"))) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\n"
                    + "Content-Length: 100000\r\n\r\nx")
            let text = try #require(await connection.readToEnd())
            #expect(!text.contains(" 201 "))
        }
    }

    @Test
    func withATokenEndsWhenItsAnswerIsNotTaken() async throws {
        var patience = Self.short
        patience.answer = .milliseconds(200)
        patience.bytesPerSecond = 1 << 30
        let bytes = [UInt8](repeating: 7, count: 64 << 20)
        try await RunningServer.run(patience: patience) { server in
            let receiver = try await server.blobs.receive(.sha256(of: bytes), limit: 64 << 20)
            try await receiver.write(bytes)
            try await receiver.finish()
            let connection = try RawConnection(server.origin)
            let token = server.operatorToken.text
            connection.send(
                "GET \(Path.blob(.sha256(of: bytes))) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\n\r\n"
            )
            // It ends although nothing is read; what is in the system's buffers still comes.
            let connections = try #require(server.connections)
            let deadline = ContinuousClock.now + .seconds(20)
            for isOpen in [true, false] {
                while (connections.count > 0) != isOpen, ContinuousClock.now < deadline {
                    try await Task.sleep(for: .milliseconds(10))
                }
            }
            let text = try #require(await connection.readToEnd())
            #expect(text.utf8.count < bytes.count)
        }
    }

    @Test
    func answersNothingBehindAnAnswerThatEndsIt() async throws {
        try await RunningServer.run { server in
            let connection = try RawConnection(server.origin)
            let body = "{}"
            connection.send(
                "POST \(Path.runs) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                    + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            let text = try #require(await connection.readToEnd())
            #expect(text.hasPrefix("HTTP/1.1 401"))
            #expect(text.split(separator: "HTTP/1.1 ").count == 1)
        }
    }

    @Test
    func answersPipelinedRequestsOneAfterTheOtherAllOfThem() async throws {
        var patience = Self.short
        patience.stranger = .milliseconds(300)
        try await RunningServer.run(patience: patience) { server in
            let connection = try RawConnection(server.origin)
            connection.send(
                String(repeating: "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", count: 20))
            let text = try #require(await connection.readToEnd())
            #expect(text.split(separator: "HTTP/1.1 200").count == 20)
        }
    }

    @Test
    func thatNobodyNeedsEndsWhenEveryPlaceIsTakenAStrangersFirstAndNeverOneInUse() {
        let places = Places(limit: 4)
        places.connections.know(places.open(0))
        places.connections.setBusy(true, places.open(1), at: places.began + .seconds(1))
        _ = places.open(2)
        #expect(places.closed == [])
        _ = places.open(3)
        #expect(places.closed == [2])
        places.connections.know(places.open(4))
        #expect(places.closed == [2, 3])
        // No stranger is left but the one that has just come.
        _ = places.open(5)
        #expect(places.closed == [2, 3, 0])
    }

    @Test
    func thatIsAnsweredEndsWhenEveryPlaceWasTakenByOneInUseSoThatTheNextIsLetIn() {
        let places = Places(limit: 3)
        let channels = (0..<3).map { second in
            let channel = places.open(second)
            places.connections.know(channel)
            places.connections.setBusy(true, channel, at: places.began + .seconds(second))
            return channel
        }
        #expect(places.closed.isEmpty)
        places.connections.setBusy(false, channels[1], at: places.began + .seconds(5))
        places.turn()
        #expect(places.closed == [1])
        // Now there is room.
        places.connections.setBusy(false, channels[0], at: places.began + .seconds(6))
        places.turn()
        #expect(places.closed == [1])
    }

    @Test
    func ofAClientThatHasJustComeIsNotEndedForTheNextWhileAKnownOneIsIdle() {
        let places = Places(limit: 4)
        places.connections.know(places.open(0))
        places.connections.know(places.open(1))
        _ = places.open(3)
        _ = places.open(3)
        #expect(places.closed == [0])
        // A second later it has shown no token, and one that has is needed more.
        _ = places.open(4)
        #expect(places.closed == [0, 3])
    }

    @Test
    func ofAStrangerBeyondAnEighthOfAllEndsOnceItHasHadASecond() {
        let places = Places(limit: 1000)
        for _ in 0..<200 { _ = places.open(0) }
        #expect(places.closed.isEmpty)
        for _ in 0..<50 { _ = places.open(2) }
        #expect(places.closed.count == 50)
        #expect(places.connections.count == 200)
    }

    @Test
    func ofAStrangerWhoseRequestLayUnreadDoesNotEnd() {
        let places = Places(limit: 1000)
        let first = places.open(0)
        let isFirstClosed = Mutex(false)
        first.closeFuture.whenComplete { _ in isFirstClosed.withLock { $0 = true } }
        for _ in 0..<125 { _ = places.open(0) }
        _ = places.open(2, isRead: false)
        places.connections.setBusy(true, first)
        places.turn()
        #expect(places.closed.isEmpty)
        // The next one ends instead, as nothing lay there.
        _ = places.open(2)
        #expect(places.closed == [0])
        #expect(!isFirstClosed.withLock { $0 })
    }

    @Test
    func ofAClientThatIsIdleAgainIsTheLastToEnd() {
        let places = Places(limit: 4)
        let channels = [0, 1, 2].map { places.open($0) }
        for channel in channels { places.connections.know(channel) }
        places.connections.setBusy(true, channels[0])
        places.connections.setBusy(false, channels[0], at: places.began + .seconds(3))
        _ = places.open(3)
        #expect(places.closed == [1])
    }
}

/// Connections that are opened at given seconds.
private final class Places {
    let connections: Connections
    let began = ContinuousClock.now
    private(set) var closed: [Int] = []
    private var open: [EmbeddedChannel] = []

    init(limit: Int) {
        connections = Connections(
            limit: limit, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func open(_ second: Int, isRead: Bool = true) -> EmbeddedChannel {
        let channel = EmbeddedChannel()
        channel.closeFuture.assumeIsolated().whenComplete { [unowned self, unowned channel] _ in
            connections.remove(channel)
            closed.append(second)
        }
        open.append(channel)
        connections.add(channel, at: began + .seconds(second))
        if isRead { turn() }
        return channel
    }

    /// A closed one tells it at the next turn of its loop.
    func turn() {
        for channel in open { channel.embeddedEventLoop.run() }
    }
}

/// A TCP connection with nothing on it but what a test sends.
private final class RawConnection: Sendable {
    private let descriptor: Int32

    init(_ origin: String) throws {
        let port = try #require(origin.split(separator: ":").last.flatMap { UInt16($0) })
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
    }

    deinit { close(descriptor) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// All that comes until the other side ends the connection; `nil` when it does not within 20 seconds.
    func readToEnd() async -> String? {
        await onThread { [descriptor] in
            var bytes: [UInt8] = []
            var part = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = recv(descriptor, &part, part.count, 0)
                if count < 0, errno == EAGAIN { return nil }
                if count <= 0 { return String(decoding: bytes, as: UTF8.self) }
                bytes += part[..<count]
            }
        }
    }

    private func onThread<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: work()) }
        }
    }
}
