// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Fleets whose nodes have another proxy than nginx; Caddy's has a Varnish in front of it, which is banned when its node has flipped.
extension FleetTests {
    /// Forward with each, with pages open in a browser that carry the script by themselves; the way back with HAProxy, and with Caddy where there is time for all kills.
    static let otherProxies: [[String]] = {
        let isWhole = ProcessInfo.processInfo.environment["SLUICE_ALL_KILLS"] != nil
        let always = [
            ["haproxy", "--browser"], ["caddy", "--browser"], ["haproxy", "--fail", "verify"],
        ]
        return isWhole ? always + [["caddy", "--fail", "verify"]] : always
    }()

    @Test(arguments: otherProxies)
    func behindAnotherProxyAFleetGoesToTheNextReleaseOrBack(options: [String]) async throws {
        let run = try await runFleet(["--proxy"] + options)
        #expect(run.fallen.isEmpty)
    }
}
