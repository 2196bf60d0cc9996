// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import UpgradeEngine

/// Nodes are braced while the census is taken, where that waits for nobody: the one does not depend on the other, and writers wait
/// for both.
@Suite struct EarlyBraceTests {
    private static let census = Step.database(.census)

    private func readsAreHeld(_ world: ScenarioWorld) -> [Bool] {
        world.core.directives.values.map { $0.reads.hold != nil }
    }

    @Test func whereTheFenceFindsNobodyUnderWayBracingCostsNoRoundOfItsOwn() throws {
        var world = ScenarioWorld()
        world.database.older = 0
        world.start(ScenarioTests.plan())
        world.settle(untilBegun: Self.census)
        #expect(readsAreHeld(world) == [true, true, true])
        let asked = world.core.directives
        world.settle(untilBegun: .database(.migrate))
        #expect(world.theRun.begun.contains(.braced))
        #expect(world.core.directives == asked, "what brace asks was asked before")
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "braced-beside-the-census")
    }

    /// A node that is not braced yet when the census has ended is waited for as ever.
    @Test func theProofStaysWhatItIs() {
        var world = ScenarioWorld()
        world.database.older = 0
        world.start(ScenarioTests.plan())
        world.settle(untilBegun: Self.census)
        world.nodes[NodeName(unchecked: "web-2")]?.isLost = true
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!world.database.performed.contains { $0.kind == .migrate })
    }

    /// Somebody who is waited for may take as long as the drain's budget; readers are served until then.
    @Test(arguments: [1, nil]) func whereTheCensusMayWaitReadersAreServed(_ older: Int?) {
        var world = ScenarioWorld()
        world.database.older = older
        world.start(ScenarioTests.plan())
        world.settle(untilBegun: Self.census)
        #expect(readsAreHeld(world) == [false, false, false])
        world.settle()
        #expect(world.theRun.state == .done)
    }

    @Test(arguments: [
        "approvals: [migrate]", "hooks: [{after: drain, run: check}]",
        "hooks: [{before: migrate, run: check}]",
    ]) func whereSomethingComesBetweenReadersAreServedMeanwhile(_ words: String) {
        var world = ScenarioWorld()
        world.database.older = 0
        let plan = ScenarioTests.plan()
        world.start(
            words.hasPrefix("approvals")
                ? plan.replacing("approvals: []", with: words) : plan + "\n\(words)\n")
        world.settle(untilBegun: Self.census)
        #expect(world.theRun.begun.contains(Self.census))
        #expect(readsAreHeld(world) == [false, false, false])
    }

    @Test func aRunThatWaitsForAPersonHoldsNobodysReads() {
        var world = ScenarioWorld()
        world.database.older = 0
        world.database.failing[.census] = 1
        world.start(ScenarioTests.plan(onFailure: "pause"))
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(readsAreHeld(world) == [false, false, false])
        world.request(.retry)
        #expect(readsAreHeld(world) == [true, true, true])
        world.request(.pause)
        #expect(readsAreHeld(world) == [false, false, false])
        world.request(.resume)
        #expect(readsAreHeld(world) == [true, true, true])
        world.settle()
        #expect(world.theRun.state == .done)
    }
}
