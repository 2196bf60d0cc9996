// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// What a fence has refused is told by the run whichever way it ends.
@Suite struct RefusedTablesOfRunTests {
    @Test(arguments: [true, false])
    func whatTheFenceRefusedIsInTheRunAndItsReport(isForward: Bool) throws {
        var world = ScenarioWorld()
        world.database.refused = RefusedTables(
            tables: [.init(name: "django_session", statements: 412)])
        if !isForward { world.database.failing = [.migrate: 1] }
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == (isForward ? .done : .rolledBack))
        #expect(world.theRun.refusedTables == ["django_session 412 times"])
        let report = try #require(RunReport(world.journal))
        #expect(report.refusedTables == ["django_session 412 times"])
        let entry = try #require(report.database.last { $0.kind == .lowerFence })
        #expect(entry.report?.refused == world.database.refused)
    }
}
