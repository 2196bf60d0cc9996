// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// What is said to the pages that are open before a window begins.
@Suite struct AnnounceTests {
    static let plan = ScenarioTests.plan() + "\nwrites: {announce: 2m}"

    private func asked(_ world: ScenarioWorld) throws -> Directive {
        let node = try #require(world.theRun.members.keys.min())
        return try #require(world.theRun.directive(for: node))
    }

    @Test func aWindowIsAnnouncedWithTheGatesOpenUntilTheyClose() throws {
        var world = ScenarioWorld()
        world.start(Self.plan)
        world.settle(untilBegun: .announced)
        let began = try #require(world.theRun.current?.beganAt)
        #expect(try asked(world).announced == began + .minutes(2))
        #expect(try asked(world).writes == .open)
        world.settle(untilBegun: .closed)
        #expect(try asked(world).announced == nil)
        #expect(try asked(world).writes != .open)
        #expect(try #require(world.theRun.current?.beganAt) >= began + .minutes(2))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(try asked(world).announced == nil)
    }

    @Test func whoLeadsNextAnnouncesTheSameInstant() throws {
        var world = ScenarioWorld()
        world.start(Self.plan)
        world.settle(untilBegun: .announced)
        let announced = try asked(world).announced
        #expect(announced != nil)
        world.restart()
        #expect(try asked(world).announced == announced)
        world.settle()
        #expect(world.theRun.state == .done)
    }

    @Test func aRunThatIsAbortedMeanwhileAnnouncesNothingMore() throws {
        var world = ScenarioWorld()
        world.start(Self.plan)
        world.settle(untilBegun: .announced)
        world.request(.abort)
        #expect(try asked(world).announced == nil)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
    }

    @Test func aPlanThatAnnouncesNothingHasNoSuchStep() throws {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(!world.text.contains("announce"))
    }
}
