// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The guestbook with a second database, in which a worker writes past every gate.
extension FleetTests {
    /// Both are fenced before the first migrates; when the tool of the second fails, the first is as it was.
    @Test(
        arguments: cases(
            ["done", "second-fails", "coordinator-killed"],
            inIntegration: ["second-fails"]))
    func twoDatabasesAreMigratedOrBothAreAsTheyWere(outcome: String) async throws {
        let run = try await runFleet("--databases", outcome)
        #expect(run.fallen.isEmpty)
    }

    /// One is left out, closed and behind its fence; a run with it alone fails and leaves it so; the same plan once more takes it in.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["SLUICE_ALL_KILLS"] != nil))
    func aDatabaseThatIsLeftOutIsTakenInByALaterRun() async throws {
        let run = try await runFleet("--databases", "left-out")
        #expect(run.fallen.isEmpty)
    }
}
