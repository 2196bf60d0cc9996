// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// What a database says of sessions once writes are open.
@Suite struct LateSessionTests {
    private static let before = WindowSessions(
        since: "then", holders: [SessionHolder(role: "shop", application: "", address: "10.0.0.9")])

    private func world(_ addresses: (Int) -> [String]?) -> ScenarioWorld {
        var world = ScenarioWorld()
        for (index, name) in world.nodes.keys.sorted().enumerated() {
            world.nodes[name]?.addresses = addresses(index)
        }
        world.database.sessions = Self.before
        world.database.lateSessions = [
            Diagnostic(
                .warning, code: LateSessions.code, "1 session of role shop", advice: "end it")
        ]
        return world
    }

    @Test func whoCouldWriteBeforeAndWhereNodesAreIsKnownToWhoeverLooksAfterTheLift() throws {
        var world = world { ["10.0.0.\($0 + 1)"] }
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        let task = try #require(world.database.performed.last { $0.kind == .contract })
        #expect(task.sessions == Self.before)
        #expect(task.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3"] && task.silentNodes == nil)
        for other in world.database.performed where other.kind != .contract {
            #expect(other.sessions == nil && other.addresses == nil)
        }
        // What it says is in the run, whoever leads it, and in the report.
        #expect(world.theRun.lateSessions == ["1 session of role shop"])
        let report = try #require(RunReport(world.journal))
        let entry = try #require(report.database.last { $0.kind == .contract })
        #expect(entry.report?.warnings.map(\.code) == [LateSessions.code])
    }

    @Test func whichNodesDoNotSayWhereTheyAreIsKnownAsWell() throws {
        var world = world { $0 == 1 ? nil : ["10.0.0.\($0 + 1)"] }
        world.start(ScenarioTests.plan())
        world.settle()
        let task = try #require(world.database.performed.last { $0.kind == .contract })
        #expect(task.sessions == Self.before)
        #expect(task.addresses == ["10.0.0.1", "10.0.0.3"])
        #expect(task.silentNodes == [SilenceTests.node])
    }
}
