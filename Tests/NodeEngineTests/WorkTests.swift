// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

@Suite struct WorkTests {
    private let goal = HealthGoal(
        identity: TaskIdentity(rawValue: "h"), check: HealthCheckName(unchecked: "page"),
        release: ReleaseName(unchecked: "v2"), consecutive: 2)

    @Test func workIsDoneInOrderOneThingAtATime() {
        var rig = Rig(staged: [v1, release("v0", "c")])
        rig.hear(
            .directive(
                directive(1) {
                    $0.stage = v2
                    $0.tasks = [task("late", .afterActivation), task("warm")]
                    $0.active = flip("f")
                    $0.health = goal
                    $0.unstage = release("v0", "c")
                    $0.keepReleases = 3
                }))
        let plan = ActivationPlan(
            identity: ActivationIdentity(unchecked: "f"), release: v2,
            generation: CacheGeneration(rawValue: 2))
        #expect(
            rig.succeedInEverything() == [
                .stage(v2), .run(task("warm")), .activate(plan),
                .run(task("late", .afterActivation)),
                .probe(goal), .probe(goal), .unstage(release("v0", "c")), .prune(keep: 3),
            ])
        #expect(rig.engine.preview().health?.state == .healthy)
    }

    @Test func aTaskIsWrittenDownBeforeItRunsAndIsNotRunAgain() {
        var rig = Rig()
        let wanted = directive(1) { $0.tasks = [task("t")] }
        let ready = rig.hear(.directive(wanted))
        #expect(ready.journal == [.accepted(wanted), .taskStarted(TaskIdentity(rawValue: "t"))])
        #expect(ready.work == .run(task("t")))
        #expect(rig.succeed().work == nil)
        #expect(rig.hear(.directive(directive(2) { $0.tasks = [task("t")] })).work == nil)
        var restarted = Rig(rig.journal)
        #expect(restarted.hear(.time).work == nil)
        #expect(restarted.engine.preview().tasks.map(\.state) == [.done])
    }

    /// Writers wait for each record that has to be on the disk.
    @Test func aCacheThatTheFlipFlushesIsNeitherWrittenDownNorWaitedFor() {
        var rig = Rig(staged: [v1, v2], cachesByGeneration: ["pages"])
        let flushes = ["pages", "proxy"].map { name in
            NodeTask(
                identity: TaskIdentity(rawValue: name), kind: .flush, name: name,
                timing: .afterActivation, release: v2)
        }
        rig.hear(
            .directive(
                directive(1) {
                    $0.active = flip("f")
                    $0.tasks = flushes
                }))
        #expect(rig.engine.preview().tasks == [], "not before the flip")
        #expect(rig.succeedInEverything().dropFirst() == [.run(flushes[1])])
        #expect(rig.engine.preview().tasks.map(\.state) == [.done, .done])
        #expect(!rig.journal.contains(.taskStarted(flushes[0].identity)))
    }

    @Test func aTaskWhoseEndNobodySawIsResolvedAndNotRun() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.tasks = [task("t"), task("u")] }))
        var restarted = Rig(rig.journal)
        #expect(restarted.hear(.time).work == .resolve(task("t")))
        let unknown = TaskOutcome(identity: TaskIdentity(rawValue: "t"), state: .unknown)
        let ready = restarted.hear(.ended(.resolve(task("t")), .task(unknown)))
        #expect(ready.work == nil, "nothing behind a task that may have failed")
        #expect(ready.journal == [.taskEnded(unknown)])
        #expect(restarted.engine.preview().tasks == [unknown])
    }

    @Test(arguments: [TaskOutcome.State.failed, .notStarted, .unknown])
    func aTaskThatDidNotEndWellStopsThoseBehindItAndANewIdentityIsANewAttempt(
        state: TaskOutcome.State
    ) {
        var rig = Rig()
        rig.hear(
            .directive(
                directive(1) {
                    $0.tasks = [task("t.1"), task("u")]
                    $0.active = flip("f", to: v1)
                }))
        let outcome = TaskOutcome(identity: TaskIdentity(rawValue: "t.1"), state: state)
        #expect(rig.hear(.ended(.run(task("t.1")), .task(outcome))).work == nil)
        let ready = rig.hear(.directive(directive(2) { $0.tasks = [task("t.2"), task("u")] }))
        #expect(ready.work == .run(task("t.2")))
        #expect(rig.succeed().work == .run(task("u")))
    }

    @Test func anInterruptedFlipIsTheSameFlipAndANewIdentityIsANewGeneration() {
        var rig = Rig(staged: [v1, v2])
        let ready = rig.hear(.directive(directive(1) { $0.active = flip("f") }))
        let plan = ActivationPlan(
            identity: ActivationIdentity(unchecked: "f"), release: v2,
            generation: CacheGeneration(rawValue: 2))
        #expect(ready.journal.last == .activationPlanned(plan))
        #expect(ready.work == .activate(plan))

        // Died before the flip: the same plan, not written down as another.
        var before = Rig(rig.journal, staged: [v1, v2])
        #expect(before.hear(.time).work == .activate(plan))
        // Died after it: nothing to do.
        var after = Rig(rig.journal, staged: [v1, v2])
        after.host.current = CurrentRelease(release: v2, generation: plan.generation)
        after.hear(.surveyed(after.host))
        _ = after.succeedInEverything()
        #expect(after.engine.preview().active?.identity == plan.identity)

        rig.succeed()
        let back = rig.hear(.directive(directive(2) { $0.active = flip("b", to: v1) }))
        #expect(
            back.work
                == .activate(
                    ActivationPlan(
                        identity: ActivationIdentity(unchecked: "b"), release: v1,
                        generation: CacheGeneration(rawValue: 3))))
    }

    @Test func heldReadsPassAtTheFlipWithoutBeingTold() {
        var rig = Rig(staged: [v1, v2])
        let ready = rig.hear(
            .directive(
                directive(1) {
                    $0.writes = hold
                    $0.reads = ReadAdmission(
                        hold: readHold, until: ActivationIdentity(unchecked: "f"))
                    $0.active = flip("f")
                }))
        #expect(ready.gate == GateTarget(writes: hold, reads: readHold))
        #expect(rig.succeed().gate == GateTarget(writes: hold, reads: nil))
    }

    @Test func aFetchThatNobodyWantsAnyMoreIsCancelledAndKeepsNothingWaiting() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.stage = v2 }))
        let ready = rig.hear(.directive(directive(2) { $0.tasks = [task("t")] }))
        #expect(ready.cancelsWork)
        #expect(rig.hear(.ended(.stage(v2), .retryable("cancelled"))).work == .run(task("t")))
    }

    @Test func whatIsHinderedIsTriedAgainAfterAWhileThatGrowsAndEnds() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.stage = v2 }))
        var waits: [Int64] = []
        for _ in 0..<9 {
            let began = rig.now
            var ready = rig.hear(.ended(.stage(v2), .retryable("no answer")))
            while ready.work == nil { ready = rig.wait(.milliseconds(50)) }
            waits.append((rig.now - began).milliseconds)
        }
        #expect(waits == [100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400])
    }

    @Test func whatFailedIsReportedAndTriedAgainOnlyUnderANewDirective() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.stage = v2 }))
        #expect(rig.hear(.ended(.stage(v2), .failed("no space"))).work == nil)
        #expect(rig.wait(.minutes(5)).work == nil)
        #expect(rig.engine.preview().failures == [NodeFailure(goal: .stage, message: "no space")])
        #expect(rig.hear(.directive(directive(2) { $0.stage = v2 })).work == .stage(v2))
        #expect(rig.engine.preview().failures.isEmpty)
    }

    @Test func anAnswerForWorkThatIsNotInHandChangesNothing() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.stage = v2 }))
        let ready = rig.hear(.ended(.unstage(v1), .failed("?")))
        #expect(ready.work == nil && rig.engine.preview().failures.isEmpty)
        #expect(rig.engine.work == .stage(v2))
    }

    @Test func healthTakesGoodAnswersInARowAndABadOneIsGivenTime() {
        var rig = Rig(active: v2)
        rig.hear(.directive(directive(1) { $0.health = goal }))
        rig.succeed()
        let bad = rig.hear(.ended(.probe(goal), .probed(isGood: false, detail: "502")))
        #expect(bad.work == nil)
        #expect(bad.wakeAt == rig.now + NodeEngine.probeInterval)
        #expect(rig.wait(NodeEngine.probeInterval).work == .probe(goal))
        rig.succeed()
        #expect(rig.engine.preview().health?.state == .checking)
        rig.succeed()
        #expect(rig.engine.preview().health?.state == .healthy)
    }

    @Test func aFlipTakesThePreparedGenerationAndNeverOneThatWasServed() {
        func generation(_ latest: CurrentRelease) -> CacheGeneration? {
            var rig = Rig(staged: [v1, v2])
            rig.host.latest = latest
            rig.hear(.surveyed(rig.host))
            rig.hear(.directive(directive(1) { $0.active = flip("f") }))
            guard case .activate(let plan)? = rig.engine.work else { return nil }
            return plan.generation
        }
        let prepared = CurrentRelease(release: v2, generation: CacheGeneration(rawValue: 4))
        #expect(generation(prepared) == CacheGeneration(rawValue: 4))
        let foreign = CurrentRelease(release: v1, generation: CacheGeneration(rawValue: 4))
        #expect(generation(foreign) == CacheGeneration(rawValue: 5))
        let served = CurrentRelease(release: v2, generation: CacheGeneration(rawValue: 1))
        #expect(generation(served) == CacheGeneration(rawValue: 2))
    }

    @Test func anAgentThatStartsAgainAsksForTheHealthThatItsDirectiveWants() {
        var rig = Rig(active: v2)
        rig.hear(.directive(directive(1) { $0.health = goal }))
        var restarted = Rig(rig.journal, active: v2)
        #expect(restarted.hear(.time).work == .probe(goal))
        restarted.succeed()
        restarted.succeed()
        #expect(restarted.engine.preview().health?.state == .healthy)
    }

    @Test func longOutputIsCutToItsEnd() throws {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.tasks = [task("t")] }))
        rig.succeed(String(repeating: "x", count: 10_000) + "end")
        let outcome = try #require(rig.engine.preview().tasks.first)
        #expect(outcome.output.utf8.count == TaskOutcome.outputLimit)
        #expect(outcome.output.hasSuffix("end"))
    }
}
