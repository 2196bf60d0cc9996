// SPDX-License-Identifier: Apache-2.0

import Testing

/// The guestbook with a migration tool of its own, which is let through the fence.
extension FleetTests {
    /// Wherever the tool, its session, its agent or the coordinator is killed, the tool runs again only when the database has
    /// said what it has done, and nobody else writes meanwhile.
    @Test(
        arguments: cases(
            [
                "done", "fails", "fails-halfway", "undone-later", "tool-killed", "session-ended",
                "agent-killed", "agent-and-tool-killed", "coordinator-killed", "before-and-after",
            ],
            inIntegration: [
                "done", "fails-halfway", "agent-and-tool-killed", "before-and-after",
            ]))
    func anApplicationsOwnToolMigratesOrEverythingIsAsItWas(outcome: String) async throws {
        let run = try await runFleet("--tool", outcome)
        #expect(run.fallen.isEmpty)
    }
}
