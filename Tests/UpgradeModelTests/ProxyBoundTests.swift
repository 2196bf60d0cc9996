// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

/// Which bounds of HAProxy and Caddy stand in the way of held requests, and what to write instead.
@Suite struct ProxyBoundTests {
    @Test func aBoundOfRequestsIsSaidWithTheFigureThatFits() throws {
        var bound = ProxyBound(
            name: "maxconn of the frontend site", position: "/etc/haproxy/haproxy.cfg:40",
            requests: 1000)
        #expect(bound.warnings(holding: 999, for: .seconds(15)) == [])
        #expect(bound.warnings(holding: 0, for: .seconds(15)) == [])
        let warning = try #require(bound.warnings(holding: 1000, for: .seconds(15)).first)
        #expect(
            warning.hasPrefix(
                "maxconn of the frontend site is 1000 (/etc/haproxy/haproxy.cfg:40), and 1000 held requests count"
            ))
        #expect(warning.contains("set it to 2000,"))
        // What it says leads out, with pages that listen as well.
        bound.listeners = 250
        #expect(
            bound.warnings(holding: 800, for: .seconds(15)).first?.contains("set it to 2050,")
                == true)
        bound.requests = 2050
        #expect(bound.warnings(holding: 800, for: .seconds(15)) == [])
    }

    @Test func aTimeoutThatIsShorterThanTheHoldIsSaid() throws {
        var bound = ProxyBound(
            name: "the server's timeout write", position: "/etc/caddy/Caddyfile:5",
            span: .seconds(15))
        #expect(bound.warnings(holding: 10, for: .seconds(14)) == [])
        let warning = try #require(bound.warnings(holding: 10, for: .seconds(15)).first)
        #expect(
            warning.contains(
                "is 15s (/etc/caddy/Caddyfile:5), and the plan holds requests for up to 15s"))
        #expect(warning.contains("set it to 75s,"))
        bound.span = .seconds(75)
        #expect(bound.warnings(holding: 10, for: .seconds(15)) == [])
    }

    @Test func aServerThatTakesFewAtOnceIsSaid() throws {
        var bound = ProxyBound(
            name: "maxconn of the server app of site", position: "h:1", passing: 8)
        let warning = try #require(bound.warnings(holding: 10, for: .seconds(15)).first)
        #expect(warning.contains("set it to 64,"))
        bound.passing = 64
        #expect(bound.warnings(holding: 10, for: .seconds(15)) == [])
    }

    /// Whatever the plan does with writes.
    @Test(arguments: [
        (ProxyBound.Kept.nginx, "take `keepalive` out"), (.haproxy, "`option http-server-close`"),
        (.caddy, "`transport http { keepalive off }`"),
    ])
    func connectionsThatOutlastAFlipAreSaidWithWhatToWrite(proxy: ProxyBound.Kept, mend: String)
        throws
    {
        let bound = ProxyBound(name: "the upstream app", position: "/etc/x:6", kept: proxy)
        let warning = try #require(bound.warnings(holding: 0, for: .zero).first)
        #expect(
            warning.hasPrefix("the upstream app keeps its connections (/etc/x:6): after the flip"))
        #expect(warning.contains(mend))
    }

    /// Whatever numbers a node says, the coordinator goes on.
    @Test func numbersThatAreTooLargeAreNoEnd() {
        let bound = ProxyBound(name: "n", position: "p", requests: .max, listeners: .max)
        #expect(bound.warnings(holding: .max, for: .zero) == [])
        let full = ProxyBound(name: "n", position: "p", requests: .max)
        #expect(full.warnings(holding: .max, for: .zero).count == 1)
    }
}
