// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import CurlClient
import FoundationEssentials
import Glibc
import Logging
import Synchronization
import TestSupport
import Testing

@testable import ControlServer

@Suite struct ListeningTests {
    @Test(arguments: [
        ("127.0.0.1:9740", true), ("127.8.9.10:1", true), ("localhost:9740", true),
        ("[::1]:9740", true),
        ("0.0.0.0:9740", false), ("10.0.0.1:9740", false), ("[::]:9740", false),
        ("example.org:80", false),
        ("127.0.0.1.example.org:80", false),
    ])
    func beyondThisMachineNeedsTLSOrAPersonsWord(_ text: String, _ isAllowed: Bool) throws {
        let listen = try #require(ListenAddress(argument: text))
        let plain = ControlServer.Configuration(listen: listen)
        if isAllowed {
            try plain.check()
        } else {
            let refusal = #expect(throws: ControlServer.CannotStart.self) { try plain.check() }
            #expect(refusal?.description.contains("--insecure") == true)
        }
        try ControlServer.Configuration(listen: listen, isInsecureAllowed: true).check()
        try ControlServer.Configuration(listen: listen, tls: ("a", "b")).check()
    }

    @Test(arguments: [
        "", ":", "9740", "127.0.0.1", "127.0.0.1:", ":9740", "a:65536", "a:-1", "a/b:1",
    ])
    func needsAHostAndAPort(_ text: String) {
        #expect(ListenAddress(argument: text) == nil)
    }

    @Test
    func withACertificateSpeaksTLSAndNothingElse() async throws {
        let certificate = try Certificate()
        try await RunningServer.run(tls: certificate.files) { server in
            let answer = try await server.send(.get, Path.health, as: .nobody)
            #expect(answer.status == 200)
            let plain = server.origin.replacing("https", with: "http")
            await #expect(throws: HTTPFailure.self) {
                _ = try await server.client.perform(HTTPRequest(.get, plain + Path.health))
            }
        }
    }

    @Test
    func aRenewedCertificateIsShownWithoutARestartAndHalfOfAPairIsNot() async throws {
        let (present, next) = (try Certificate().files, try Certificate().files)
        // Another name of the first one, which stays when the next takes its place.
        let first = present.certificate + ".first"
        try #require(link(present.certificate, first) == 0)
        try await RunningServer.run(tls: present) { server in
            /// Of somebody who has not connected before.
            func status(trusting authority: String) async throws -> Int {
                let client = CurlClient()
                defer { client.close() }
                var request = HTTPRequest(.get, server.origin + Path.health)
                request.tls = TLSFiles(authorities: authority)
                return try await client.perform(request).status
            }
            #expect(try await status(trusting: first) == 200)
            try #require(rename(next.certificate, present.certificate) == 0)
            #expect(try await status(trusting: first) == 200)
            try #require(rename(next.key, present.key) == 0)
            #expect(try await status(trusting: present.certificate) == 200)
            await #expect(throws: HTTPFailure.self) { _ = try await status(trusting: first) }
        }
    }

    /// Two weeks before, whoever looks after the coordinator hears of it; in the last hour no run begins that would lose its agents.
    @Test
    func aCertificateThatEndsIsSaidAndNoRunBeginsBeforeARenewedOneIsThere() async throws {
        let (present, next) = (try Certificate(days: 2).files, try Certificate(days: 30).files)
        let authority = present.certificate + ".first"
        try #require(link(present.certificate, authority) == 0)
        let clock = Mutex(time(nil))
        try await RunningServer.run(tls: present, now: { clock.withLock { $0 } }) { server in
            func health() async throws -> Health {
                let answer = try await server.send(.get, Path.health, as: .nobody)
                return try answer.decode(Health.self)
            }
            let said = try await health()
            #expect(said.ok)
            #expect(
                said.reason?.contains("the certificate in \(present.certificate) ends at") == true)
            clock.withLock { $0 += 2 * 86400 - 1800 }
            let refused = try await server.send(
                .post, Path.runs, as: .person, body: .bytes(Array("{}".utf8)))
            #expect(refused.status == 422)
            let error = try refused.error
            #expect(error.message.contains("too soon for a run"))
            #expect(error.advice?.contains("without a restart") == true)
            // The advice, followed; whoever trusts the file reads it anew, too.
            try #require(rename(next.certificate, present.certificate) == 0)
            try #require(rename(next.key, present.key) == 0)
            var renewed = server
            renewed.trust(present.certificate)
            let answer = try await renewed.send(
                .post, Path.runs, as: .person, body: .bytes(Array("{}".utf8)))
            #expect(answer.status == 400)
        }
    }

    @Test
    func withACertificateThatCannotBeReadIsRefused() throws {
        let listen = try #require(ListenAddress(argument: "127.0.0.1:0"))
        let configuration = ControlServer.Configuration(
            listen: listen, tls: ("/nowhere/a.pem", "/nowhere/b.pem"))
        let running = RunningServer()
        let refusal = #expect(throws: ControlServer.CannotStart.self) {
            _ = try ControlServer(
                configuration, control: running.control, registry: running.store,
                blobs: running.blobs,
                metrics: running.metrics, log: .init(label: "test"))
        }
        #expect(refusal?.description.contains("/nowhere/a.pem") == true)
    }
}

/// A certificate for 127.0.0.1, made by the openssl program in a directory of its own.
struct Certificate {
    private let directory: String

    var files: (certificate: String, key: String) {
        ("\(directory)/cert.pem", "\(directory)/key.pem")
    }

    init(days: Int = 2) throws {
        directory = try TemporaryDirectory().path
        let arguments = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout", files.key, "-out", files.certificate, "-days", "\(days)", "-subj",
            "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1",
        ]
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var process: pid_t = 0
        try #require(posix_spawnp(&process, "openssl", &actions, nil, &words, environ) == 0)
        var status: Int32 = 0
        try #require(waitpid(process, &status, 0) == process && status == 0)
    }
}
