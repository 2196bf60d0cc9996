// SPDX-License-Identifier: Apache-2.0

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
