// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import HostWork

/// HAProxy's and Caddy's configurations are read for what they do to held requests.
@Suite struct OtherProxyConfigurationTests {
    private func bounds(haproxy text: String) throws -> [String] {
        let directory = try TemporaryDirectory()
        try directory.write(text, to: "h.cfg")
        let found = try #require(HAProxyConfiguration(path: directory.path + "/h.cfg"))
        return found.bounds(fromDefaults: "sluice").map {
            "\($0.name) \($0.kind) \($0.position.split(separator: ":").last ?? "")"
        }
    }

    @Test func theFrontendsOfTheGateAndWhereTheySendRequestsOnToAreReadAndNoOthers() throws {
        let found = try bounds(
            haproxy: """
                global
                    maxconn 4000 # all of them
                defaults site
                    maxconn 3000
                defaults sluice from site
                    mode http
                frontend web from sluice
                    bind :80 maxconn 700
                    use_backend api if { path_beg /api }
                    default_backend app
                frontend other from site
                    maxconn 5
                    default_backend far
                backend app from site
                    server one unix@/run/a.sock maxconn 8
                    server two unix@/run/b.sock maxconn 0
                backend api from site
                    server three 127.0.0.1:90 check maxconn 500
                backend far from site
                    server four 127.0.0.1:91 maxconn 1
                """)
        #expect(
            found == [
                "global maxconn requests(4000) 2", "maxconn of the frontend web requests(3000) 4",
                "maxconn of a bind of the frontend web requests(700) 8",
                "maxconn of the server one of app passing(8) 15",
                "maxconn of the server three of api passing(500) 18",
            ])
    }

    /// As HAProxy has it: one that names none takes the last `defaults` above it.
    @Test func theOwnFigureOfAFrontendIsTheNearest() throws {
        let found = try bounds(
            haproxy: """
                defaults
                    maxconn 1
                defaults sluice
                    maxconn 20
                frontend web
                    maxconn 10
                listen more
                    server a 127.0.0.1:90 maxconn 3
                """)
        #expect(
            found == [
                "maxconn of the frontend web requests(10) 6",
                "maxconn of the listen more requests(20) 4",
                "maxconn of the server a of more passing(3) 8",
            ])
        #expect(try bounds(haproxy: "frontend web\n maxconn 10") == [])
        #expect(try bounds(haproxy: "maxconn 10\nfrontend") == [])
    }

    /// A connection that is kept leads to the release before after a flip.
    @Test(arguments: [
        ("", "", true), ("option http-server-close", "", false), ("", "option httpclose", false),
        ("http-reuse never", "", true),
    ])
    func connectionsToTheSocketThatAFlipMovesAreFound(
        backend: String, defaults: String, isKept: Bool
    ) throws {
        let found = try bounds(
            haproxy: """
                defaults site
                    \(defaults)
                defaults sluice from site
                frontend web from sluice
                    default_backend app
                backend app from site
                    \(backend)
                    server one unix@${SLUICE_APP}/current/app.sock
                    server two unix@/run/other.sock
                """)
        #expect(found == (isKept ? ["the server one of app kept 8"] : []))
    }

    @Test func aDirectoryIsReadInTheOrderOfItsFiles() throws {
        let directory = try TemporaryDirectory()
        try directory.write("defaults site\n maxconn 7", to: "1.cfg")
        try directory.write("defaults sluice from site", to: "2.cfg")
        try directory.write("frontend web from sluice", to: "3.cfg")
        let found = try #require(HAProxyConfiguration(path: directory.path))
        #expect(found.bounds(fromDefaults: "sluice").map(\.kind) == [.requests(7)])
        #expect(found.mentions("from sluice") && !found.mentions("/run/sluice"))
        #expect(HAProxyConfiguration(path: directory.path + "/absent.cfg") == nil)
    }

    @Test func timeoutsAndBoundsOfACaddyfileAreRead() throws {
        let directory = try TemporaryDirectory()
        try directory.write(
            """
            {
                servers :443 {
                    timeouts {
                        read_body 1m30s
                        read_header 1s
                        write 20s
                    }
                }
            }
            import gate/*.caddy
            http://:80 {
                respond "} # no end" 200
                reverse_proxy unix//srv/app/current/app.sock {
                    transport http {
                        keepalive off
                    }
                }
                reverse_proxy /api/* unix//srv/app/current/app.sock {
                    transport http {
                        response_header_timeout 1s
                        max_conns_per_host 5
                    }
                }
            }
            """, to: "Caddyfile")
        try directory.write(
            """
            (ask) {
                forward_auth {args.0} unix//run/sluice/gate.sock { # it waits
                    transport http {
                        response_header_timeout 2m
                        max_conns_per_host 100
                    }
                }
            }
            """, to: "gate/ask.caddy")
        let found = try #require(CaddyConfiguration(file: directory.path + "/Caddyfile"))
        #expect(found.mentions("/run/sluice/gate.sock") && !found.mentions("/run/other/gate.sock"))
        let bounds = found.bounds(asking: "/run/sluice/gate.sock", flipping: "/srv/app/current/")
        #expect(
            bounds.map { "\($0.name) \($0.kind)" } == [
                "the server's timeout read_body milliseconds(90000)",
                "the server's timeout write milliseconds(20000)",
                "response_header_timeout of the question to the agent milliseconds(120000)",
                "max_conns_per_host of the question to the agent requests(100)",
                "reverse_proxy to unix//srv/app/current/app.sock kept",
            ])
        #expect(bounds[2].position == "\(directory.path)/gate/ask.caddy:4")
        #expect(bounds[4].position == "\(directory.path)/Caddyfile:18")
        #expect(CaddyConfiguration(file: directory.path + "/absent") == nil)
        try directory.write("import loop\n}\n}", to: "loop")
        #expect(CaddyConfiguration(file: directory.path + "/loop") != nil)
    }

    @Test(arguments: [
        ("250ms", 250), ("1.5h", 5_400_000), ("2d", 172_800_000), ("1m30s", 90_000), ("5", nil),
        ("", nil), ("s", nil), ("{$PATIENCE}", nil),
    ])
    func lengthsOfTimeAreReadAsGoDoes(text: String, length: Int64?) {
        #expect(milliseconds(text) == length)
    }
}
