// SPDX-License-Identifier: Apache-2.0

import Testing

/// Fleets whose nodes have another proxy than nginx; Caddy's has a Varnish in front of it, which is banned when its node has flipped.
extension FleetTests {
    /// Forward with each, with pages open in a browser that carry the script by themselves; the way back where there is time for it.
    static let otherProxies: [[String]] = {
        let forward = [["haproxy", "--browser"], ["caddy", "--browser"]]
        let back = [["haproxy", "--fail", "verify"], ["caddy", "--fail", "verify"]]
        return cases(forward + back, inIntegration: forward)
    }()

    @Test(arguments: otherProxies)
    func behindAnotherProxyAFleetGoesToTheNextReleaseOrBack(options: [String]) async throws {
        let run = try await runFleet(["--proxy"] + options)
        #expect(run.fallen.isEmpty)
    }
}
