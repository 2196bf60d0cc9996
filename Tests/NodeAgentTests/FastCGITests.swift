// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import CurlClient
import Glibc
import Testing
import TestSupport
import UpgradeModel

@testable import NodeAgent

/// An application behind php-fpm is asked at its own socket in FastCGI, which is all that is spoken there.
@Suite(.timeLimit(.minutes(5))) struct FastCGITests {
    private let v2 = ReleaseName(unchecked: "v2")

    private static let page = """
        <?php
        header('X-Release: v2');
        if (isset($_GET['fails'])) { http_response_code(503); }
        echo $_SERVER['REQUEST_URI'], ' of ', $_SERVER['HTTP_HOST'], ' with ', $_SERVER['HTTP_X_TENANT'] ?? '-', ' at ',
            $_SERVER['DOCUMENT_ROOT'], $_SERVER['SCRIPT_NAME'], str_repeat('.', 200000), 'end';

        """

    /// Debian's php-fpm, with one worker, that serves a directory's `public/index.php`.
    private func withServer(_ body: (_ directory: TemporaryDirectory) async throws -> Void)
        async throws
    {
        let program = "/usr/sbin/php-fpm8.2"
        try #require(access(program, X_OK) == 0, "scripts/install-dependencies installs \(program)")
        let directory = try TemporaryDirectory()
        let path = directory.path
        let account = getuid() == 0 ? "user = www-data\ngroup = www-data\n" : ""
        try directory.write(FastCGITests.page, to: "files/public/index.php")
        for part in ["", "/files", "/files/public"] { chmod(path + part, 0o755) }
        chmod(path + "/files/public/index.php", 0o644)
        try directory.write(
            """
            [global]
            error_log = \(path)/log
            [app]
            \(account)listen = \(path)/app.sock
            pm = static
            pm.max_children = 1

            """, to: "pool.conf")
        let server = try ChildProcess(
            [program, "--nodaemonize", "--fpm-config", path + "/pool.conf"],
            output: path + "/output")
        defer { server.end(SIGTERM) }
        try await until("php-fpm listens") { reasonNotToConnect(to: path + "/app.sock") == nil }
        try await body(directory)
    }

    private func ask(
        _ directory: TemporaryDirectory, _ change: (inout HealthCheck) -> Void = { _ in }
    ) async -> (isGood: Bool, detail: String) {
        var check = HealthCheck(
            destination: .applicationSocket, script: "public/index.php", path: "/page?x=1",
            host: "shop.example", header: .init(name: "X-Release"), timeout: .seconds(10))
        change(&check)
        return await HealthProber().ask(
            check, release: v2, applicationSocket: directory.path + "/app.sock",
            files: directory.path + "/files")
    }

    @Test func thePageIsAskedAsAProxyWouldAskIt() async throws {
        try await withServer { directory in
            let whole =
                "/page?x=1 of shop.example with blue at \(directory.path)/files/public/index.php"
            let good = await ask(directory) {
                $0.body = whole
                $0.requestHeaders = SentHeader("X-Tenant: blue").map { [$0] } ?? []
            }
            #expect(good.isGood, "\(good.detail)")
            #expect(await ask(directory) { $0.body = "end" }.isGood, "to its last byte")
        }
    }

    @Test func anotherReleaseAnotherStatusAndAScriptThatIsNotThereAreNotHealthy() async throws {
        try await withServer { directory in
            let other = await ask(directory) { $0.header?.value = "v3" }
            #expect(!other.isGood && other.detail.contains("X-Release: v2, not v3"))
            let busy = await ask(directory) { $0.path = "/page?fails" }
            #expect(!busy.isGood && busy.detail.contains("answered 503"))
            let missing = await ask(directory) { $0.script = "index.php" }
            #expect(!missing.isGood && missing.detail.contains("answered 404"), "\(missing.detail)")
        }
    }

    @Test func whoAsksPHPOverHTTPIsToldHowToAsk() async throws {
        try await withServer { directory in
            let deaf = await ask(directory) { $0.script = nil }
            #expect(!deaf.isGood && deaf.detail.contains("fastcgi: index.php"), "\(deaf.detail)")
        }
    }

    @Test func anApplicationThatTakesTheQuestionAndSaysNothingIsNotHealthy() async throws {
        let directory = try TemporaryDirectory()
        let silent = try HTTPServer(unixSocket: directory.path + "/app.sock") { _ in nil }
        defer { silent.stop() }
        let answer = await ask(directory) { $0.timeout = .milliseconds(200) }
        #expect(!answer.isGood && answer.detail.contains("no answer in time"), "\(answer.detail)")
    }

    @Test func anAnswerIsReadInWhateverPiecesItComes() {
        let text = Array("Status: 404 Not Found\r\nX-Release: v2\r\n\r\nno\n".utf8)
        let records: [UInt8] =
            [1, 7, 0, 1, 0, 3, 1, 0] + Array("log".utf8) + [0]
            + [1, 6, 0, 1, 0, UInt8(text.count), 0, 0] + text + [1, 3, 0, 1, 0, 8, 0, 0]
            + [UInt8](repeating: 0, count: 8)
        var answer = FastCGIAnswer()
        for byte in records {
            #expect(!answer.isComplete)
            answer.add([byte])
        }
        #expect(answer.isComplete)
        #expect(answer.response?.status == 404)
        #expect(answer.response?.head.first("x-release") == "v2")
        #expect(answer.response.map { String(decoding: $0.body, as: UTF8.self) } == "no\n")
    }
}
