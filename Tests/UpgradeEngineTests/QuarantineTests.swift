// SPDX-License-Identifier: Apache-2.0

import RunStore
import Testing
import UpgradeModel

@testable import UpgradeEngine

@Suite struct QuarantineTests {
    static let stray = NodeName(unchecked: "web-2")

    /// A run that is done and had to leave one node behind, which cannot flip.
    private func worldWithANodeLeftBehind() -> ScenarioWorld {
        var world = ScenarioWorld()
        world.nodes[Self.stray]?.failingGoal = .activate
        world.start(ScenarioTests.plan(budget: 1))
        world.settle()
        return world
    }

    @Test func aNodeLeftBehindStaysShutByItselfAfterTheRun() throws {
        let world = worldWithANodeLeftBehind()
        #expect(world.theRun.state == .done)
        let directive = try #require(world.core.directives[Self.stray])
        #expect(directive.writes.kind == .refuse)
        #expect(directive.service == .out)
        #expect(directive.lease.onExpiry == .keep)
        #expect(directive.reads.until == directive.active?.identity)
    }

    @Test func theNextRunInheritsTheQuarantineAndMayNotForgetIt() throws {
        var world = worldWithANodeLeftBehind()
        let all = world.nodes.keys.sorted()
        func next(_ nodes: [NodeName]) -> CoreInput {
            .start(
                RunCreated(
                    run: RunIdentifier(unchecked: "r2"), fleet: FleetName(unchecked: "guestbook"),
                    plan: ScenarioTests.plan(), planFile: "plan.yaml",
                    digest: ScenarioWorld.new.manifest, release: ScenarioWorld.new, migrations: [],
                    nodes: nodes, by: OperatorName(unchecked: "alice"), request: "next"))
        }
        #expect(throws: Refusal.quarantinedLeftOut(Self.stray)) {
            try world.core.step(next(all.filter { $0 != Self.stray }), at: world.now)
        }
        let ready = try world.core.step(next(all), at: world.now)
        guard case .created(let created)? = ready.appends.first?.events.first else {
            Issue.record("nothing was created")
            return
        }
        #expect(created.quarantined == [Self.stray])
        #expect(world.core.directives[Self.stray]?.writes.kind == .refuse)
        #expect(world.core.directives[Self.stray]?.service == .out)
    }

    @Test func aNodeThatCannotGoBackIsShutWhenTheOthersOpen() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-3")]?.isUnhealthy = true
        world.on(.rollout, .back) { $0.nodes[Self.stray]?.failingGoal = .activate }
        world.start(ScenarioTests.plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(world.theRun.quarantined == [Self.stray])
        let directive = try #require(world.core.directives[Self.stray])
        #expect(directive.writes.kind == .refuse)
        #expect(directive.service == .out)
        #expect(directive.active?.release == ScenarioWorld.old)
        #expect(world.core.directives[NodeName(unchecked: "web-1")]?.writes == .open)
    }

    @Test func aRunOnOtherNodesOfTheFleetLeavesTheRestAlone() throws {
        var world = ScenarioWorld(nodes: 2)
        world.start(ScenarioTests.plan())
        world.settle()
        let other = NodeName(unchecked: "web-7")
        let inventory = (world.nodes.keys.sorted() + [other]).map {
            NodeRecord(name: $0, labels: [:])
        }
        _ = try world.core.step(.inventory(inventory), at: world.now)
        let plan = ScenarioTests.plan().replacing(
            "labels: {role: web}", with: "names: [web-7]")
        _ = try world.core.step(
            .start(
                RunCreated(
                    run: RunIdentifier(unchecked: "r2"), fleet: FleetName(unchecked: "guestbook"),
                    plan: plan, planFile: "plan.yaml", digest: ScenarioWorld.new.manifest,
                    release: ScenarioWorld.new, migrations: [], nodes: [other],
                    by: OperatorName(unchecked: "alice"), request: "next")), at: world.now)
        let name = try #require(world.nodes.keys.min())
        var node = try #require(world.nodes[name])
        let ready = try world.core.step(.status(name, node.status()), at: world.now)
        #expect(ready.appends == [])
        #expect(world.core.directives[name]?.service == .in)
        #expect(world.core.directives[name]?.writes == .open)
    }

    /// A run whose rollout has begun, with what the node that is quarantined from the start, or the canary, is asked to do.
    private func runInRollout(quarantined: [NodeName]? = nil) throws -> Run {
        let nodes = (1...3).map { NodeName(unchecked: "web-\($0)") }
        var run = try #require(
            Run(
                RunCreated(
                    run: ScenarioWorld.run, fleet: FleetName(unchecked: "guestbook"),
                    plan: ScenarioTests.plan(budget: 1), planFile: "plan.yaml",
                    digest: ScenarioWorld.new.manifest, release: ScenarioWorld.new, migrations: [],
                    nodes: nodes, by: OperatorName(unchecked: "alice"), request: "q",
                    quarantined: quarantined), at: .init(milliseconds: 0)))
        run.take(.staged, in: .stage)
        run.take(.upgraded(batch: 0), in: .rollout)
        return run
    }

    @Test func aCanaryThatFailedIsTriedOnceMoreLikeAnyOther() throws {
        var run = try runInRollout()
        let canary = NodeName(unchecked: "web-1")
        let first = try #require(run.directive(for: canary)).tasksAfterActivation
        run.take(.nodeQuarantined(NodeTrouble(node: canary, reason: "reload failed")))
        let second = try #require(run.directive(for: canary)).tasksAfterActivation
        #expect(first.map(\.name) == ["reload", "pages"])
        #expect(second.map(\.name) == first.map(\.name))
        #expect(Set(first.map(\.identity)).isDisjoint(with: second.map(\.identity)))
    }

    @Test func aNodeThatWasUpgradedByItselfIsNotAskedAgainByItsBatch() throws {
        var run = try runInRollout(quarantined: [Self.stray])
        let alone = try #require(run.directive(for: Self.stray))
        #expect(alone.tasksAfterActivation.map(\.name) == ["reload", "pages"])
        run.take(.nodeReadmitted(NodeFact(node: Self.stray)))
        for _ in 0..<2 {
            let directive = try #require(run.directive(for: Self.stray))
            #expect(directive.service == .in)
            #expect(directive.active == alone.active)
            #expect(directive.tasks == alone.tasks)
            #expect(directive.health == alone.health)
            run.take(.upgraded(batch: 1), in: .rollout)
        }
    }

    @Test(arguments: [("where: one-node", ["web-1"]), ("node: web-2", ["web-2"])])
    func aHookForOneNodeRunsOnThatNodeOnly(place: String, expected: [String]) {
        var world = ScenarioWorld()
        world.start(
            ScenarioTests.plan() + "\nhooks:\n  - {before: migrate, run: announce, \(place)}\n")
        world.settle()
        #expect(world.theRun.state == .done)
        let told = world.text.split(separator: "\n").filter { $0.contains("action announce") }
        #expect(
            Set(told.map { $0.drop { $0 == " " }.prefix { $0 != ":" } })
                == Set(expected.map { Substring($0) }))
    }

    @Test(arguments: ["before: lift", "after: rollout", "before: finish"])
    func aHooksActionIsAskedForNoLongerThanItsStep(timing: String) {
        var world = ScenarioWorld()
        world.start(ScenarioTests.plan() + "\nhooks:\n  - {\(timing), run: announce}\n")
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.text.contains("action announce"))
        #expect(world.violations == [])
    }

    @Test func aHookForANodeThatDoesNotTakePartFailsItsPhase() {
        var world = ScenarioWorld()
        world.start(
            ScenarioTests.plan() + "\nhooks:\n  - {before: migrate, run: announce, node: web-9}\n")
        world.settle()
        #expect(world.theRun.state == .rolledBack)
    }

    @Test(arguments: [Phase.stage, .rollout, .lift])
    func aLeaderThatComesLateGivesTheStepItsTimeAgain(phase: Phase) {
        var world = ScenarioWorld()
        world.on(phase) { world in
            for name in world.nodes.keys { world.nodes[name]?.isLost = true }
        }
        world.start(ScenarioTests.plan())
        world.settle(steps: 500, untilLost: Self.stray)
        // Nobody led for an hour; then a new leader hears from every node at once.
        world.pass(.minutes(60))
        for name in world.nodes.keys { world.nodes[name]?.isLost = false }
        world.restart()
        world.put(.time)
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.quarantined.isEmpty)
        #expect(world.violations == [])
    }
}

extension Run {
    fileprivate mutating func take(_ event: RunEvent) {
        apply(RecordedEvent(at: .init(milliseconds: 1), epoch: Epoch(rawValue: 1), event: event))
    }

    fileprivate mutating func take(_ step: Step, in phase: Phase) {
        take(.stepBegan(StepBegan(direction: .forward, index: 0, phase: phase, step: step)))
    }
}

extension UpgradeModel.Directive {
    fileprivate var tasksAfterActivation: [NodeTask] {
        tasks.filter { $0.timing == .afterActivation }
    }
}
