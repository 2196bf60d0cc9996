// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import Testing
import TestSupport

@testable import CurlClient

@Suite struct Failures {
    @Test
    func nobodyListeningIsRefusedAndNamedWithoutTheQuery() async throws {
        let port = try TestServer.unusedPort()
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, "http://127.0.0.1:\(port)/x?token=abc"))
        }
        #expect(error?.code == .refused)
        #expect(error?.curlName == "CURLE_COULDNT_CONNECT")
        #expect(error?.message.contains("GET http://127.0.0.1:\(port)/x:") == true)
        #expect(error?.message.contains("abc") == false)
    }

    @Test
    func aUnixSocketThatIsNotThereIsRefused() async throws {
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(
                HTTPRequest(.get, "http://app/", unixSocket: "/nowhere/app.sock"))
        }
        #expect(error?.code == .refused)
    }

    @Test(arguments: [true, false])
    func aBodyOverTheLimitIsTooLargeAnnouncedOrNot(announced: Bool) async throws {
        let server = try TestServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\n\(announced ? "Content-Length: 101\r\n" : "")\r\n")
            connection.write([UInt8](repeating: 65, count: 101))
            return false
        }
        defer { server.stop() }
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, server.url("/"), maximumBody: 100))
        }
        #expect(error?.code == .tooLarge)
        #expect(
            try await client.perform(HTTPRequest(.get, server.url("/"), maximumBody: 101)).body
                .count == 101)
    }

    @Test
    func aHeadWithoutEndIsTooLarge() async throws {
        let server = try TestServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\n")
            while connection.write("X-More: \(String(repeating: "x", count: 1000))\r\n") {}
            return false
        }
        defer { server.stop() }
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, server.url("/")))
        }
        #expect(error?.code == .tooLarge)
    }

    @Test(arguments: ["total", "stall"])
    func aServerThatDoesNotAnswerInTimeIsTimedOut(kind: String) async throws {
        let server = try TestServer { _, connection in
            connection.waitForEnd()
            return false
        }
        defer { server.stop() }
        let timeouts =
            kind == "total"
            ? HTTPTimeouts(total: .milliseconds(50)) : HTTPTimeouts(total: nil, stall: .seconds(1))
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, server.url("/"), timeouts: timeouts))
        }
        #expect(error?.code == .timedOut)
        #expect(error?.curlName == "CURLE_OPERATION_TIMEDOUT")
    }

    @Test(arguments: [
        "", "HTTP/7.1 200 OK\r\n\r\n", "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    ])
    func anAnswerThatEndsEarlyOrIsNotHttpIsInterrupted(answer: String) async throws {
        let server = try TestServer { _, connection in
            connection.write(answer)
            return false
        }
        defer { server.stop() }
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, server.url("/")))
        }
        #expect(error?.code == .interrupted)
    }

    @Test
    func cancellingTheTaskEndsTheTransferAndClosesItsConnection() async throws {
        let arrived = Mutex(false)
        let ended = Mutex(false)
        let server = try TestServer { _, connection in
            arrived.withLock { $0 = true }
            connection.waitForEnd()
            ended.withLock { $0 = true }
            return false
        }
        defer { server.stop() }
        let client = CurlClient()
        let task = Task {
            await failure { () async throws(HTTPFailure) in
                _ = try await client.perform(
                    HTTPRequest(.get, server.url("/"), timeouts: HTTPTimeouts(total: nil)))
            }
        }
        #expect(await eventually { arrived.withLock { $0 } })
        task.cancel()
        #expect(await task.value?.code == .cancelled)
        #expect(await eventually { ended.withLock { $0 } })
    }

    @Test
    func aTaskThatIsCancelledAlreadySendsNothing() async throws {
        let server = try TestServer { _, connection in connection.respond() }
        defer { server.stop() }
        let client = CurlClient()
        let gate = AsyncStream<Void>.makeStream()
        let task = Task {
            for await _ in gate.stream {}
            return await failure { () async throws(HTTPFailure) in
                _ = try await client.perform(HTTPRequest(.get, server.url("/")))
            }
        }
        task.cancel()
        gate.continuation.finish()
        #expect(await task.value?.code == .cancelled)
        #expect(server.requests.isEmpty)
    }

    @Test
    func closingTheClientEndsWhatIsUnderWayAndRefusesWhatComesAfter() async throws {
        let arrived = Mutex(false)
        let server = try TestServer { _, connection in
            arrived.withLock { $0 = true }
            connection.waitForEnd()
            return false
        }
        defer { server.stop() }
        let client = CurlClient()
        let task = Task {
            await failure { () async throws(HTTPFailure) in
                _ = try await client.perform(HTTPRequest(.get, server.url("/")))
            }
        }
        #expect(await eventually { arrived.withLock { $0 } })
        client.close()
        client.close()
        #expect(await task.value?.code == .closed)
        let late = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, server.url("/")))
        }
        #expect(late?.code == .closed)
    }

    @Test
    func oneRequestMoreThanTheClientMayHaveIsRefusedAndRoomIsMadeAgain() async throws {
        let release = Mutex(false)
        let server = try TestServer { _, connection in
            while !release.withLock({ $0 }) { usleep(1000) }
            return connection.respond()
        }
        defer { server.stop() }
        let client = CurlClient(.init(maximumConnections: 2, maximumRequests: 2))
        let tasks = (1...2).map { _ in
            Task { try await client.perform(HTTPRequest(.get, server.url("/"))).status }
        }
        #expect(await eventually { server.requests.count == 2 })
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, server.url("/")))
        }
        #expect(error?.code == .overloaded)
        release.withLock { $0 = true }
        for task in tasks { #expect(try await task.value == 200) }
        #expect(try await client.perform(HTTPRequest(.get, server.url("/"))).status == 200)
    }
}

@Suite struct Refusals {
    static let requests: [(String, HTTPRequest)] = {
        let url = "http://127.0.0.1:1/"
        func with(_ name: String, _ value: String) -> HTTPRequest {
            HTTPRequest(.get, url, headers: [HTTPHeader(name, value)])
        }
        return [
            ("line break in a value", with("X", "a\r\nEvil: 1")),
            ("line feed in a value", with("X", "a\nb")),
            ("zero byte in a value", with("X", "a\0b")),
            ("line break in a name", with("X\r\nEvil", "1")),
            ("colon in a name", with("X:", "1")), ("empty name", with("", "1")),
            ("own length", with("content-length", "5")),
            ("own framing", with("Transfer-Encoding", "chunked")),
            ("line break in the URL", HTTPRequest(.get, "http://127.0.0.1:1/a\r\nEvil: 1")),
            ("space in the URL", HTTPRequest(.get, "http://127.0.0.1:1/a b")),
            ("other scheme", HTTPRequest(.get, "file:///etc/passwd")),
            ("gopher", HTTPRequest(.get, "gopher://127.0.0.1:1/")),
            ("user name", HTTPRequest(.get, "http://a:b@127.0.0.1:1/")),
            ("no host", HTTPRequest(.get, "http:///x")),
            ("fragment", HTTPRequest(.get, url + "#x")),
            ("line break in the token", HTTPRequest(.get, url, bearerToken: HTTPSecret("a\r\nb"))),
            ("range backwards", HTTPRequest(.get, url, range: HTTPRange(from: 5, through: 4))),
            (
                "long socket path",
                HTTPRequest(.get, url, unixSocket: "/" + String(repeating: "a", count: 107))
            ),
            (
                "too many headers",
                HTTPRequest(.get, url, headers: (0...100).map { HTTPHeader("X\($0)", "1") })
            ),
        ]
    }()

    @Test(arguments: requests.map(\.0))
    func aRequestThatIsWrongIsRefusedBeforeAConnectionIsMade(name: String) async throws {
        let request = try #require(Refusals.requests.first { $0.0 == name }?.1)
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(request)
        }
        #expect(error?.code == .invalidRequest)
        #expect(error?.message.contains("\n") == false || name.contains("URL"))
    }

    @Test(arguments: ["", "GE T", "GET\r\n", "A/B", String(repeating: "A", count: 33)])
    func aMethodIsAToken(name: String) { #expect(HTTPMethod(name) == nil) }

    @Test
    func aSecretShowsNowhere() {
        let secret = HTTPSecret("hunter2")
        var dumped = ""
        dump(HTTPRequest(.get, "http://a/", bearerToken: secret), to: &dumped)
        for text in ["\(secret)", String(reflecting: secret), dumped] {
            #expect(!text.contains("hunter2"))
        }
        #expect("\(secret)" == "(secret)")
    }
}
