// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Foundation
import Testing
import UpgradeModel

@Suite struct StartLimitTests {
    @Test
    func aStartHasRoomForTheLargestPlanAndTheMostMigrationsEscaped() throws {
        let share = Limits.migrationBytes / Limits.migrations
        let name = String(repeating: "n", count: 240)
        let start = StartRun(
            request: "r", plan: String(repeating: "\"", count: Limits.plan),
            planFile: String(repeating: "p", count: Limits.text),
            manifest: Digest(bytes: Array(repeating: 255, count: 32)),
            migrations: (0..<Limits.migrations).map {
                MigrationFile(
                    name: "\($0)_\(name).up.sql", text: String(repeating: "\n", count: share))
            })
        let size = try JSONEncoder().encode(start).count
        #expect(size > Limits.migrationBytes * 2)
        #expect(size <= Limits.start)
    }

    @Test
    func aRequestHasRoomForItsTwoLongestTextsEscaped() throws {
        let text = String(repeating: "\n", count: Limits.text)
        let request = RunRequest(request: text, verb: .rollback, reason: text)
        #expect(try JSONEncoder().encode(request).count <= Limits.request)
    }
}
