// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import Testing
import TestSupport

@testable import CurlClient

/// Runs it and returns the failure; records an issue when there is none.
func failure(_ body: () async throws(HTTPFailure) -> Void) async -> HTTPFailure? {
    do {
        try await body()
        Issue.record("no failure")
        return nil
    } catch { return error }
}

@Suite struct Answers {
    @Test(arguments: ["GET", "POST", "PUT", "DELETE", "PURGE", "BAN", "PATCH"], ["", "a body"])
    func eachMethodArrivesAsItWasNamedWithItsBody(method: String, body: String) async throws {
        let server = try TestServer { request, connection in
            connection.respond("200 OK", request.method)
        }
        defer { server.stop() }
        let client = CurlClient()
        let method = try #require(HTTPMethod(method))
        let response = try await client.perform(
            HTTPRequest(
                method, server.url("/a/../b?c=d"),
                headers: [HTTPHeader("X-One", "1"), HTTPHeader("X-Empty", "")],
                body: body.isEmpty ? .none : .bytes(Array(body.utf8))))
        #expect(response.body == Array(method.name.utf8))
        let request = try #require(server.requests.first)
        #expect(request.method == method.name)
        #expect(request.target == "/a/../b?c=d")
        #expect(request.body == Array(body.utf8))
        #expect(request.headers.contains("X-One: 1"))
        #expect(request.headers.contains("X-Empty:"))
        #expect(
            !request.headers.contains { $0.hasPrefix("Expect") || $0.hasPrefix("Content-Type") })
        #expect(server.requests.count == 1)
    }

    @Test
    func aHeadAnswerHasTheLengthInItsHeadAndNoBody() async throws {
        let server = try TestServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n")
        }
        defer { server.stop() }
        let response = try await CurlClient().perform(
            HTTPRequest(.head, server.url("/"), maximumBody: 10))
        #expect(response.head.first("content-length") == "5000000")
        #expect(response.body.isEmpty)
    }

    @Test
    func aBinaryBodyOfAMegabyteComesBackUnchanged() async throws {
        let server = try TestServer { request, connection in
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(request.body.count)\r\n\r\n")
                && connection.write(request.body)
        }
        defer { server.stop() }
        let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let response = try await CurlClient().perform(
            HTTPRequest(.post, server.url("/"), body: .bytes(bytes)))
        #expect(response.body == bytes)
    }

    @Test
    func aFileIsSentAsTheBody() async throws {
        let directory = try TemporaryDirectory()
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let server = try TestServer { request, connection in connection.respond("201 Created") }
        defer { server.stop() }
        let response = try await CurlClient().perform(
            HTTPRequest(
                .put, server.url("/blob"), body: .file(path: try directory.file("blob", bytes)))
        )
        #expect(response.status == 201)
        #expect(server.requests.first?.method == "PUT")
        #expect(server.requests.first?.body == bytes)
    }

    @Test(arguments: ["/absent", "/tmp"])
    func aBodyFileThatIsMissingOrNoFileFailsBeforeAnythingIsSent(path: String) async throws {
        let server = try TestServer { _, connection in connection.respond() }
        defer { server.stop() }
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(
                HTTPRequest(.put, server.url("/"), body: .file(path: path)))
        }
        #expect(error?.code == .unreadableBody)
        #expect(error?.message.contains(path) == true)
        #expect(server.requests.isEmpty)
    }

    @Test
    func aRedirectIsAnAnswerAndIsNotFollowed() async throws {
        let server = try TestServer { request, connection in
            connection.respond("302 Found", headers: "Location: /elsewhere\r\n")
        }
        defer { server.stop() }
        let response = try await CurlClient().perform(HTTPRequest(.get, server.url("/")))
        #expect(response.status == 302)
        #expect(response.head.first("Location") == "/elsewhere")
        #expect(server.requests.map(\.target) == ["/"])
    }

    @Test
    func anErrorStatusIsAnAnswerAndInterimAnswersAreLeftOut() async throws {
        let server = try TestServer { _, connection in
            connection.write(
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 503 No\r\nRetry-After: 7\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n")
        }
        defer { server.stop() }
        let response = try await CurlClient().perform(HTTPRequest(.get, server.url("/")))
        #expect(response.status == 503)
        #expect(response.head.headers.map(\.name) == ["Retry-After", "Transfer-Encoding"])
        #expect(response.body == Array("abc".utf8))
    }

    @Test
    func aRangeIsAskedForAndItsTokenIsSentOnlyAsAHeader() async throws {
        let server = try TestServer { _, connection in
            connection.respond(
                "206 Partial Content", headers: "Content-Range: bytes 2-3/4\r\n", "cd")
        }
        defer { server.stop() }
        _ = try await CurlClient().perform(
            HTTPRequest(
                .get, server.url("/"), bearerToken: HTTPSecret("t0ken"), range: HTTPRange(from: 2)))
        let headers = try #require(server.requests.first?.headers)
        #expect(headers.contains("Range: bytes=2-"))
        #expect(headers.contains("Authorization: Bearer t0ken"))
    }

    @Test
    func aRequestGoesOverAUnixSocket() async throws {
        let directory = try TemporaryDirectory()
        let path = "\(directory.path)/app.sock"
        let server = try TestServer(unixSocket: path) { _, connection in
            connection.respond("200 OK", "hello")
        }
        defer { server.stop() }
        let response = try await CurlClient().perform(
            HTTPRequest(.get, "http://app/health", unixSocket: path))
        #expect(response.body == Array("hello".utf8))
        #expect(server.requests.first?.headers.contains("Host: app") == true)
    }

    @Test
    func requestsOneAfterAnotherUseOneConnection() async throws {
        let server = try TestServer { _, connection in connection.respond() }
        defer { server.stop() }
        let client = CurlClient()
        for _ in 1...5 { _ = try await client.perform(HTTPRequest(.get, server.url("/"))) }
        #expect(server.connections == 1)
        #expect(server.requests.count == 5)
    }

    @Test
    func manyRequestsAtOnceAreEachAnsweredWithTheirOwnAnswer() async throws {
        let server = try TestServer { request, connection in
            connection.respond("200 OK", request.target)
        }
        defer { server.stop() }
        let client = CurlClient()
        let results = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<200 {
                group.addTask {
                    let response = try? await client.perform(
                        HTTPRequest(.get, server.url("/\(number)")))
                    return response?.body == Array("/\(number)".utf8)
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results.count == 200)
        #expect(results.allSatisfy { $0 })
        #expect(server.connections <= 64)
    }

    @Test
    func aKeptConnectionThatTheServerClosedIsReplaced() async throws {
        let server = try TestServer { _, connection in
            connection.respond()
            return false
        }
        defer { server.stop() }
        let client = CurlClient()
        for _ in 1...3 {
            let response = try await client.perform(
                HTTPRequest(.post, server.url("/"), body: .bytes([1, 2, 3])))
            #expect(response.status == 200)
        }
        #expect(server.requests.map(\.body) == [[1, 2, 3], [1, 2, 3], [1, 2, 3]])
    }
}

@Suite struct Streams {
    @Test
    func bytesAreHandedOverAsTheyArriveWhileTheAnswerIsStillOpen() async throws {
        let seen = Mutex("")
        let server = try TestServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for word in ["one\n", "two\n", "three\n"] {
                connection.write(word)
                // The next word is only sent once this one has been seen: buffering would hang here.
                let end = ContinuousClock.now + .seconds(10)
                while !seen.withLock({ $0.hasSuffix(word) }), ContinuousClock.now < end {
                    usleep(1000)
                }
            }
            return false
        }
        defer { server.stop() }
        let status = Mutex(0)
        let head = try await CurlClient().stream(HTTPRequest(.get, server.url("/"))) { head in
            status.withLock { $0 = head.status }
            return true
        } onBytes: { bytes in
            seen.withLock { $0 += String(decoding: bytes, as: UTF8.self) }
            return true
        }
        #expect(head.first("Content-Type") == "text/event-stream")
        #expect(status.withLock { $0 } == 200)
        #expect(seen.withLock { $0 } == "one\ntwo\nthree\n")
    }

    @Test(arguments: [true, false])
    func aReceiverThatSaysFalseEndsTheTransferAsStopped(atHead: Bool) async throws {
        let server = try TestServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\n\r\nsome")
            connection.waitForEnd()
            return false
        }
        defer { server.stop() }
        let calls = Mutex(0)
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            try await client.stream(HTTPRequest(.get, server.url("/"))) { _ in
                !atHead
            } onBytes: { _ in
                calls.withLock { $0 += 1 }
                return false
            }
        }
        #expect(error?.code == .stopped)
        #expect(calls.withLock { $0 } == (atHead ? 0 : 1))
    }

    @Test
    func afterACancelledStreamHasReturnedItsClosuresAreNotCalledAgain() async throws {
        let server = try TestServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\n\r\n")
            while connection.write("again ") {}
            return false
        }
        defer { server.stop() }
        let client = CurlClient()
        let calls = Mutex(0)
        let task = Task {
            await failure { () async throws(HTTPFailure) in
                try await client.stream(HTTPRequest(.get, server.url("/"), maximumBody: .max)) {
                    _ in
                    calls.withLock { $0 += 1 }
                    return true
                }
            }
        }
        #expect(await eventually { calls.withLock { $0 > 3 } })
        task.cancel()
        #expect(await task.value?.code == .cancelled)
        let after = calls.withLock { $0 }
        // Another whole request on the same thread: time enough for a call that should not come.
        _ = try? await client.perform(
            HTTPRequest(.get, "http://127.0.0.1:\(try TestServer.unusedPort())/"))
        #expect(calls.withLock { $0 } == after)
    }
}
