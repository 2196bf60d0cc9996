// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import CurlClient
import FoundationEssentials
import Glibc
import Synchronization
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

@Suite(.timeLimit(.minutes(5))) struct HealthTests {
    private let v2 = ReleaseName(unchecked: "v2")

    private func ask(
        _ answer: HTTPServer.Answer?, standard: HealthGoal.AnswerStandard? = nil,
        _ change: (inout HealthCheck) -> Void = { _ in }
    ) async throws -> (isGood: Bool, detail: String) {
        let server = try HTTPServer { request in
            request.headers["host"]?.hasPrefix("127.") == true || request.headers["host"] == "shop"
                ? answer : nil
        }
        defer { server.stop() }
        var check = HealthCheck(
            destination: .address("127.0.0.1:\(server.port)"), path: "/page?x=1", host: "localhost",
            status: 200,
            header: .init(name: "X-Release"), body: nil, timeout: .seconds(5))
        change(&check)
        return await HealthProber().ask(
            check, release: v2, applicationSocket: nil, standard: standard)
    }

    private func answered(_ release: String?, status: Int = 200, body: String = "")
        -> HTTPServer.Answer
    {
        .init(
            status: status, headers: release.map { [("x-release", $0)] } ?? [],
            body: Array(body.utf8))
    }

    @Test func theReleaseThatWasAskedForIsHealthy() async throws {
        #expect(try await ask(answered("v2")).isGood)
    }

    @Test func anotherReleaseAnotherStatusAndARedirectAreNot() async throws {
        let other = try await ask(answered("v1"))
        #expect(!other.isGood && other.detail.contains("X-Release: v1, not v2"))
        #expect(try await !ask(answered(nil)).isGood)
        #expect(try await !ask(answered("v2", status: 503)).isGood)
        let redirect = HTTPServer.Answer(
            status: 302, headers: [("Location", "/"), ("X-Release", "v2")])
        let answer = try await ask(redirect)
        #expect(!answer.isGood && answer.detail.contains("302"))
    }

    @Test(arguments: [200, 302, 404, 500])
    func ofAReleaseThatHasServedBeforeAnyAnswerWillDo(status: Int) async throws {
        let answer = try await ask(answered(nil, status: status), standard: .anyAnswer)
        #expect(answer.isGood && answer.detail.contains("\(status)"))
    }

    @Test(arguments: [502, 503, 504])
    func thatNobodyIsThereIsNoAnswerOfARelease(status: Int) async throws {
        let answer = try await ask(answered("v2", status: status), standard: .anyAnswer)
        #expect(!answer.isGood && answer.detail.contains("\(status)"))
        #expect(try await !ask(nil, standard: .anyAnswer).isGood)
    }

    @Test func hostBodyAndHeaderAreAsConfigured() async throws {
        let good = try await ask(answered("blue", body: "hello there")) {
            $0.host = "shop"
            $0.header = .init(name: "X-Release", value: "blue")
            $0.body = "lo th"
        }
        #expect(good.isGood, "\(good.detail)")
        #expect(try await !ask(answered("v2", body: "x")) { $0.body = "y" }.isGood)
        #expect(try await ask(answered(nil)) { $0.header = nil }.isGood)
    }

    @Test
    func aPageThatSaysItsVersionInItsBodyAndAsksForATokenIsAskedAndBelieved() async throws {
        let root = try TemporaryDirectory().path
        let file = root + "/header"
        try write("Bearer abc\n", to: file, mode: 0o600)
        let token = try #require(SentHeader("Authorization: file:\(file)"))
        let tenant = try #require(SentHeader("X-Tenant: shop"))
        let server = try HTTPServer { request in
            let isKnown =
                request.headers["authorization"] == "Bearer abc"
                && request.headers["x-tenant"] == "shop"
            return .init(
                status: isKnown ? 200 : 401, body: Array(#"{"version": "v2", "ok": true}"#.utf8))
        }
        defer { server.stop() }
        var check = HealthCheck(
            destination: .address("127.0.0.1:\(server.port)"), path: "/health",
            requestHeaders: [token, tenant], body: #""version": "{release}""#,
            timeout: .seconds(5))
        let good = await HealthProber().ask(check, release: v2, applicationSocket: nil)
        #expect(good.isGood, "\(good.detail)")
        let other = await HealthProber().ask(
            check, release: ReleaseName(unchecked: "v3"), applicationSocket: nil)
        #expect(!other.isGood && other.detail.contains(#""version": "v3""#), "\(other.detail)")
        check.requestHeaders = [tenant]
        #expect(await !HealthProber().ask(check, release: v2, applicationSocket: nil).isGood)
        check.requestHeaders = [token, tenant]
        chmod(file, 0o644)
        let readable = await HealthProber().ask(check, release: v2, applicationSocket: nil)
        #expect(!readable.isGood && readable.detail.contains(file))
        #expect(!readable.detail.contains("abc"))
    }

    @Test func theReleaseMayBePartOfAHeadersValue() async throws {
        let server = try HTTPServer { _ in .init(status: 200, headers: [("Server", "shop/v2")]) }
        defer { server.stop() }
        let check = HealthCheck(
            destination: .address("127.0.0.1:\(server.port)"), path: "/",
            header: .init(name: "Server", value: "shop/{release}"), timeout: .seconds(5))
        #expect(await HealthProber().ask(check, release: v2, applicationSocket: nil).isGood)
    }

    @Test func nobodyThereAndNoAnswerInTimeAreNotHealthy() async throws {
        #expect(try await !ask(nil).isGood)
        let silent = try HTTPServer { _ in
            Thread.wait(seconds: 2)
            return nil
        }
        defer { silent.stop() }
        let check = HealthCheck(
            destination: .address("127.0.0.1:\(silent.port)"), path: "/", host: "localhost",
            status: 200, header: nil,
            body: nil, timeout: .milliseconds(100))
        let answer = await HealthProber().ask(
            check, release: v2, applicationSocket: nil)
        #expect(!answer.isGood)
    }

    @Test func aCheckOfTheApplicationsSocketNeedsTheRelease() async {
        let check = HealthCheck(
            destination: .applicationSocket, path: "/", host: "localhost", status: 200, header: nil,
            body: nil,
            timeout: .seconds(1))
        let answer = await HealthProber().ask(
            check, release: v2, applicationSocket: nil)
        #expect(!answer.isGood && answer.detail.contains("not on this node"))
    }
}

private enum Thread {
    static func wait(seconds: UInt32) { sleep(seconds) }
}

@Suite(.timeLimit(.minutes(5))) struct CacheTests {
    private let flusher = CacheFlusher(client: CurlClient())

    @Test func aPurgeIsSentForEachPathWithItsHostAndHeaders() async throws {
        let seen = Mutex<[HTTPServer.Request]>([])
        let server = try HTTPServer { request in
            seen.withLock { $0.append(request) }
            return .init(status: request.path == "/gone" ? 404 : 200)
        }
        defer { server.stop() }
        let purge = Cache.Purge(
            address: "127.0.0.1:\(server.port)", method: .ban, host: "shop", paths: ["/", "/gone"],
            headers: [try #require(SentHeader("X-Scope: all"))])
        _ = try await flusher.flush(.purge(purge))
        let requests = seen.withLock { $0 }
        #expect(requests.map(\.method) == ["BAN", "BAN"])
        #expect(requests.map(\.path) == ["/", "/gone"])
        #expect(
            requests.allSatisfy { $0.headers["host"] == "shop" && $0.headers["x-scope"] == "all" })
    }

    @Test func aCacheThatRefusesIsAFailure() async throws {
        let server = try HTTPServer { _ in .init(status: 405) }
        defer { server.stop() }
        let purge = Cache.Purge(
            address: "127.0.0.1:\(server.port)", method: .purge, host: "localhost", paths: ["/"],
            headers: [])
        await #expect(throws: SystemFailure.self) { _ = try await flusher.flush(.purge(purge)) }
    }

    @Test func aGenerationNeedsNothing() async throws {
        #expect(try await flusher.flush(.generation).contains("flip"))
    }

    @Test func aDirectoryIsEmptiedAndWhatItsLinksPointToIsNot() async throws {
        let root = try TemporaryDirectory().path
        let files = FileManager.default
        try files.createDirectory(atPath: root + "/cache/a/b/c", withIntermediateDirectories: true)
        try files.createDirectory(atPath: root + "/precious", withIntermediateDirectories: true)
        for file in ["cache/x", "cache/a/y", "cache/a/b/c/z", "precious/keep"] {
            try write("1", to: "\(root)/\(file)", mode: 0o600)
        }
        try check(symlink("\(root)/precious", "\(root)/cache/link") == 0, "link")
        try check(symlink("../../precious/keep", "\(root)/cache/a/link") == 0, "link")
        // A name that is no UTF-8.
        let odd = Array("\(root)/cache/".utf8CString.dropLast()) + [-1, 0]
        let descriptor = creat(odd, 0o600)
        try check(descriptor >= 0, "creat")
        close(descriptor)
        _ = try await flusher.flush(.directory(root + "/cache"))
        #expect(try files.contentsOfDirectory(atPath: root + "/cache") == [])
        #expect(files.fileExists(atPath: root + "/precious/keep"))
    }

    @Test func aDirectoryThatIsALinkIsLeftAloneAndOneThatIsNotThereIsEmpty() async throws {
        let root = try TemporaryDirectory().path
        try FileManager.default.createDirectory(
            atPath: root + "/precious", withIntermediateDirectories: true)
        try write("1", to: root + "/precious/keep", mode: 0o600)
        try check(symlink(root + "/precious", root + "/cache") == 0, "link")
        await #expect(throws: SystemFailure.self) {
            _ = try await flusher.flush(.directory(root + "/cache"))
        }
        #expect(FileManager.default.fileExists(atPath: root + "/precious/keep"))
        #expect(try await flusher.flush(.directory(root + "/none")).hasPrefix("0 "))
    }
}
