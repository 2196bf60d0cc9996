// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

/// Which limits of a proxy stand in the way of held requests, and by how much.
@Suite struct ProxyLimitsTests {
    @Test func whatFitsIsNoWarning() {
        let limits = ProxyLimits(
            workers: 2, connections: 8192, shares: [.init(key: "$a", atMost: 1000, position: "f:1")]
        )
        #expect(limits.warnings(holding: 1000) == [])
        #expect(limits.warnings(holding: 0) == [])
    }

    @Test func tooFewConnectionsAreSaidWithTheFigureThatFits() throws {
        let limits = ProxyLimits(workers: 1, connections: 768, shares: [])
        let warning = try #require(limits.warnings(holding: 1000).first)
        #expect(
            warning.contains("768 connections") && warning.contains("1000 held requests take 2000"))
        #expect(warning.contains("worker_connections to 3072"))
    }

    /// The script in open pages listens through the proxy as well, and each page takes what a held request takes.
    @Test func openPagesThatListenTakeConnectionsToo() throws {
        var limits = ProxyLimits(workers: 1, connections: 1024, shares: [], listeners: 250)
        #expect(limits.warnings(holding: 200) == [])
        let warning = try #require(limits.warnings(holding: 300).first)
        #expect(
            warning.contains(
                "300 held requests and 250 open pages that listen (gate.streams) take 1100"))
        #expect(warning.contains("worker_connections to 3072"))
        limits.connections = 3072
        #expect(limits.warnings(holding: 300) == [])
    }

    @Test func anHTTP2ConnectionThatIsFullOfHeldWritesTakesNoRead() throws {
        var limits = ProxyLimits(
            workers: 4, connections: 8192, shares: [], requestsOfConnection: 128)
        #expect(limits.warnings(holding: 100) == [])
        let warning = try #require(limits.warnings(holding: 200).first)
        #expect(warning.contains("128 requests under way at most (http2_max_concurrent_streams)"))
        #expect(warning.contains("set http2_max_concurrent_streams to 328"))
        limits.requestsOfConnection = 328
        #expect(limits.warnings(holding: 200) == [])
    }

    /// An agent of before says neither.
    @Test func limitsOfAnOlderAgentAreRead() throws {
        let text = #"{"workers":2,"connections":768,"shares":[]}"#
        let limits = try JSONDecoder().decode(ProxyLimits.self, from: Data(text.utf8))
        #expect(limits == ProxyLimits(workers: 2, connections: 768, shares: []))
    }

    @Test func aLimitOfThoseWhoShareSomethingIsSaidWithItsPlace() throws {
        let limits = ProxyLimits(
            workers: 4, connections: 8192,
            shares: [
                .init(key: "$binary_remote_addr", atMost: 20, position: "/etc/nginx/a:7"),
                .init(key: "$server_name", atMost: 500, position: "/etc/nginx/a:8"),
            ])
        let warnings = limits.warnings(holding: 1000)
        #expect(warnings.count == 2)
        #expect(warnings[0].contains("limit_conn 20 by $binary_remote_addr (/etc/nginx/a:7)"))
        #expect(warnings[0].contains("shares an address"))
        #expect(warnings[1].contains("raise it to 1500"))
    }
}
