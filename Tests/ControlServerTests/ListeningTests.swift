// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import CurlClient
import FoundationEssentials
import Glibc
import Logging
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

    init() throws {
        directory = try TemporaryDirectory().path
        let arguments = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout", files.key, "-out", files.certificate, "-days", "2", "-subj", "/CN=127.0.0.1",
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
