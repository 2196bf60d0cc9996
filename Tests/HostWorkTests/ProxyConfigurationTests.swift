// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import HostWork

/// nginx's configuration is read for the limits that held requests meet.
@Suite struct ProxyConfigurationTests {
    @Test func directivesAreTakenApartAsNginxDoes() {
        let text = """
            # worker_connections 1;
            events { worker_connections 768; } # more
            map "$a $b" $c { default 1; "~^x{2};" "a b"; }
            server { set $d "${e}x"; return 503 "it's"; }
            include a\\ b/*.conf;
            """
        #expect(
            nginxDirectives(text).map(\.words) == [
                ["events"], ["worker_connections", "768"], ["map", "$a $b", "$c"],
                ["default", "1"], ["~^x{2};", "a b"], ["server"], ["set", "$d", "${e}x"],
                ["return", "503", "it's"], ["include", "a b/*.conf"],
            ])
        #expect(nginxDirectives(text)[1].line == 2)
    }

    @Test func limitsAreFoundWhereverTheyStand() throws {
        let directory = try TemporaryDirectory()
        try directory.write(
            """
            worker_processes 4;
            events { worker_connections 768; }
            http {
                limit_conn_zone $binary_remote_addr zone=one:1m;
                limit_conn_zone $server_name zone=all:1m;
                include sites/*;
            }
            """, to: "nginx.conf")
        try directory.write(
            "server {\n limit_conn one 20;\n limit_conn all 500;\n include gate.conf; }",
            to: "sites/shop")
        try directory.write("upstream a { server unix:/run/sluice/gate.sock; }", to: "gate.conf")
        try directory.write("include loop; limit_conn one;", to: "loop")
        let found = try #require(ProxyConfiguration(file: directory.path + "/nginx.conf"))
        #expect(found.workers == 4 && found.connections == 768)
        #expect(found.shares.map(\.key) == ["$binary_remote_addr", "$server_name"])
        #expect(found.shares.map(\.atMost) == [20, 500])
        #expect(
            found.shares.map(\.position) == [
                "\(directory.path)/sites/shop:2", "\(directory.path)/sites/shop:3",
            ])
        #expect(found.mentions("unix:/run/sluice/gate.sock"))
        #expect(!found.mentions("unix:/run/other/gate.sock"))
        #expect(ProxyConfiguration(file: directory.path + "/absent") == nil)
        let loop = try #require(ProxyConfiguration(file: directory.path + "/loop"))
        #expect(loop.workers == nil && loop.shares.isEmpty)
    }

    @Test func upstreamsThatKeepConnectionsAreReadWithTheirServers() throws {
        let directory = try TemporaryDirectory()
        try directory.write(
            """
            http {
                upstream gate { server unix:/run/sluice/gate.sock max_fails=0; keepalive 16; }
                upstream plain { server unix:/srv/app/current/app.sock; }
                upstream app {
                    server unix:/srv/app/current/app.sock;
                    keepalive 8;
                }
                server { keepalive_timeout 1; location / { proxy_pass http://app; } }
            }
            """, to: "nginx.conf")
        let found = try #require(ProxyConfiguration(file: directory.path + "/nginx.conf"))
        #expect(found.keeping.map(\.name) == ["gate", "app"])
        #expect(found.keeping[1].servers == ["unix:/srv/app/current/app.sock"])
        #expect(found.keeping[1].position == "\(directory.path)/nginx.conf:6")
    }

    /// The shipped files around a site's own timeouts, which do not run while a request is held.
    @Test func howLongItWaitsForTheGatesAnswerIsRead() throws {
        let directory = try TemporaryDirectory()
        let shipped = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../agents/nginx/sluice-server.conf")
        try directory.write(
            String(contentsOf: shipped, encoding: .utf8), to: "sluice-server.conf")
        try directory.write(
            "server { include sluice-server.conf; proxy_read_timeout 60s; }\n"
                + "location = /_sluice/admit { proxy_read_timeout 5m; }\n"
                + "location /_sluice/admit { proxy_read_timeout 20; } location / { proxy_read_timeout 9s; }",
            to: "nginx.conf")
        let found = try #require(ProxyConfiguration(file: directory.path + "/nginx.conf"))
        #expect(found.asking.map(\.kind) == [120, 300, 20].map { .milliseconds($0 * 1000) })
        #expect(found.asking.last?.position == "\(directory.path)/nginx.conf:3")
    }

    static let speakers: [(String, Int?)] = [
        ("listen 443 ssl http2; server_name http2;", 128), ("listen 80; server_name http2;", nil),
        ("listen 443 ssl; http2 on; http2_max_concurrent_streams 512;", 512),
        ("http2 on; http2_max_concurrent_streams 64; http2_max_concurrent_streams 32;", 32),
        ("http2 off; http2_max_concurrent_streams 64;", nil),
    ]

    @Test(arguments: speakers) func whatAnHTTP2ConnectionMayHaveUnderWayIsRead(
        text: String, most: Int?
    ) throws {
        let directory = try TemporaryDirectory()
        try directory.write("http { server { \(text) } }", to: "nginx.conf")
        let found = try #require(ProxyConfiguration(file: directory.path + "/nginx.conf"))
        #expect(found.requestsOfConnection == most)
    }
}
