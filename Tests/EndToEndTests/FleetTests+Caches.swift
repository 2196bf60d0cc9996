// SPDX-License-Identifier: Apache-2.0

import Testing

extension FleetTests {
    /// Varnish in front of all nodes, banned by a hook; nginx on each; Redis and memcached behind the application.
    @Test func nothingOldComesOutOfAnyCacheAfterTheLift() async throws {
        let run = try await runFleet("--caches")
        #expect(run.fallen.isEmpty)
    }
}
