// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing
import TestSupport

@testable import CurlClient

/// Against `openssl s_server` with certificates made for the test.
@Suite struct TLS {
    @Test
    func onlyTheGivenAuthoritiesAreTrustedAndAClientShowsItsCertificate() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path
        try makeCertificates(path)
        let port = try TestServer.unusedPort()
        let server = try start(
            [
                "s_server", "-accept", "127.0.0.1:\(port)", "-cert", "\(path)/server.pem", "-key",
                "\(path)/server.key", "-CAfile", "\(path)/ca.pem", "-Verify", "2",
                "-verify_return_error", "-www",
                "-quiet",
            ])
        // Whatever the signals that it has inherited as blocked.
        defer { server.end(SIGKILL) }
        let client = CurlClient()
        let url = "https://127.0.0.1:\(port)/"
        let tls = TLSFiles(
            authorities: "\(path)/ca.pem", certificate: "\(path)/client.pem",
            privateKey: "\(path)/client.key")

        // Until the server listens.
        var response: HTTPResponse?
        let end = ContinuousClock.now + .seconds(10)
        while response == nil, ContinuousClock.now < end {
            do throws(HTTPFailure) {
                response = try await client.perform(HTTPRequest(.get, url, tls: tls))
            } catch {
                guard error.code == .refused else { throw error }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        #expect(response?.status == 200)

        let untrusted = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, url))
        }
        #expect(untrusted?.code == .tls)
        let otherName = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, "https://localhost:\(port)/", tls: tls))
        }
        #expect(otherName?.code == .tls)
        let missing = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(
                HTTPRequest(.get, url, tls: TLSFiles(authorities: "\(path)/absent.pem")))
        }
        #expect(missing?.code == .tls)
    }

    @Test
    func aServerThatDoesNotSpeakTlsIsATlsFailure() async throws {
        let server = try TestServer(speaksFirst: "400 Not TLS\r\n") { _, _ in false }
        defer { server.stop() }
        let client = CurlClient()
        let error = await failure { () async throws(HTTPFailure) in
            _ = try await client.perform(HTTPRequest(.get, "https://127.0.0.1:\(server.port)/"))
        }
        #expect(error?.code == .tls)
    }

    private func makeCertificates(_ path: String) throws {
        let key = [
            "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        ]
        try run(
            ["req", "-x509"] + key + [
                "-keyout", "\(path)/ca.key", "-out", "\(path)/ca.pem", "-subj", "/CN=Test CA",
            ])
        for (name, extra) in [
            ("server", ["-addext", "subjectAltName=IP:127.0.0.1"]), ("client", []),
        ] {
            try run(
                ["req", "-x509"] + key + [
                    "-keyout", "\(path)/\(name).key", "-out", "\(path)/\(name).pem", "-subj",
                    "/CN=\(name)", "-CA",
                    "\(path)/ca.pem", "-CAkey", "\(path)/ca.key", "-addext",
                    "basicConstraints=critical,CA:FALSE",
                ] + extra)
        }
    }

    private func start(_ arguments: [String]) throws -> ChildProcess {
        try ChildProcess(["/usr/bin/openssl"] + arguments)
    }

    private func run(_ arguments: [String]) throws {
        try #require(start(arguments).wait() == 0, "openssl \(arguments.joined(separator: " "))")
    }
}
