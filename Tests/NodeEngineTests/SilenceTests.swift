// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

/// Nothing of an old release runs on the new schema, whatever dies or is late.
@Suite struct SilenceTests {
    private let run1 = RunIdentifier(unchecked: "20261129-1")
    private let run2 = RunIdentifier(unchecked: "20261129-2")

    /// What a run asks once its nodes serve v2 and are about to be lifted.
    private func silent(_ revision: Int64, _ change: (inout Directive) -> Void = { _ in })
        -> Directive
    {
        directive(revision) {
            $0.run = run1
            $0.writes = hold
            $0.lease = Lease(duration: .seconds(30), onExpiry: .keep)
            $0.active = flip("forward")
            $0.silenced = v1
            change(&$0)
        }
    }

    /// A node that serves v2 and whose v1 is frozen.
    private func frozen() -> Rig {
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(silent(1) { $0.silenced = nil }))
        _ = rig.succeedInEverything()
        rig.hear(.directive(silent(2)))
        #expect(rig.engine.work == .silence(SilenceGoal(release: v1, state: .frozen)))
        rig.succeed()
        return rig
    }

    @Test func aReleaseIsFrozenWhileTheGateIsClosedAndEndedOnceItOpens() {
        var rig = frozen()
        #expect(rig.engine.preview().silenced == Silence(release: v1, frozen: 3, state: .silent))
        rig.hear(.directive(silent(3) { $0.writes = .open }))
        #expect(rig.engine.work == .silence(SilenceGoal(release: v1, state: .ended)))
        #expect(rig.engine.preview().silenced?.state == .waiting)
        rig.succeed()
        #expect(rig.engine.preview().silenced == Silence(release: v1, state: .silent))
    }

    /// On a way back by promotion: the release that is being frozen is not the one that is served again.
    @Test func aFlipDoesNotWaitUntilAnotherReleaseIsFrozen() {
        let reader = v1.on(.standby)
        var rig = Rig(staged: [v1, v2, reader])
        rig.hear(.directive(silent(1) { $0.silenced = nil }))
        _ = rig.succeedInEverything()
        rig.hear(.directive(silent(2)))
        let freeze = NodeWork.silence(SilenceGoal(release: v1, state: .frozen))
        #expect(rig.engine.works == [freeze])
        let back = silent(3) {
            $0.silenced = nil
            $0.replaced = v1
            $0.active = flip("back", to: reader)
        }
        rig.hear(.directive(back))
        guard case .activate(let plan)? = rig.engine.works.last, rig.engine.works.first == freeze
        else {
            Issue.record("it does \(rig.engine.works)")
            return
        }
        #expect(plan.release == reader)
        _ = rig.succeedInEverything()
        #expect(rig.engine.preview().active?.release == reader)
        #expect(rig.engine.preview().silenced?.release == v1, "it ends there, and goes on no more")
        #expect(rig.engine.preview().silenced?.state == .silent)
        // It is ended once, and looked at again no sooner than any other.
        var open = back
        open.revision = 5
        open.writes = .open
        var opened = rig
        opened.hear(.directive(open))
        _ = opened.engine.status(at: opened.now)
        opened.hear(.time)
        #expect(opened.succeedInEverything().count <= 2)
        #expect(opened.engine.works.isEmpty)
        // The same release has to go on before it is served.
        let again = silent(4) {
            $0.silenced = nil
            $0.active = flip("again", to: v1)
        }
        rig.hear(.directive(again))
        #expect(rig.engine.works == [.silence(SilenceGoal(release: v1, state: .thawed))])
    }

    /// A start that waits for a schema which is not there any more would hold up the way back until its own timeout.
    @Test func aStartThatNobodyAsksForAnyMoreIsCutOffWhenItsReleaseIsToBeSilent() {
        var rig = Rig(staged: [v1, v2])
        let starting = directive(1) {
            $0.run = run1
            $0.writes = hold
            $0.tasks = [task("start")]
        }
        #expect(rig.hear(.directive(starting)).work == .run(task("start")))
        var other = starting
        other.revision = 2
        other.tasks = []
        #expect(!rig.hear(.directive(other)).cancelsWork, "an action is not cut off otherwise")
        var back = other
        back.revision = 3
        back.silenced = v2
        #expect(rig.hear(.directive(back)).cancelsWork)
        let failed = TaskOutcome(identity: task("start").identity, state: .failed, output: "ended")
        let next = rig.hear(.ended(.run(task("start")), .task(failed)))
        #expect(next.work == .silence(SilenceGoal(release: v2, state: .frozen)))
    }

    /// A database knows the sessions of what is frozen by the ports that they come from.
    @Test func whereFrozenProcessesAreConnectedIsSaidForAsLongAsTheyAreFrozen() {
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(silent(1) { $0.silenced = nil }))
        _ = rig.succeedInEverything()
        rig.hear(.directive(silent(2)))
        let connections = ["10.0.0.7:41218->10.0.0.5:5432"]
        rig.hear(
            .ended(
                .silence(SilenceGoal(release: v1, state: .frozen)),
                .silenced(SilenceResult(frozen: 3, connections: connections))))
        let said = rig.engine.preview().silenced
        #expect(said?.connections == connections && said?.state == .silent)
        rig.hear(.directive(silent(3) { $0.writes = .open }))
        rig.succeed()
        #expect(rig.engine.preview().silenced?.connections == nil)
    }

    @Test func whatIsFrozenIsWrittenDownFirst() {
        var rig = Rig(staged: [v1, v2], active: v2)
        let ready = rig.hear(.directive(silent(1) { $0.active = nil }))
        #expect(ready.journal.last == .silenceBegan(SilenceMemory(release: v1, run: run1)))
        #expect(ready.work == .silence(SilenceGoal(release: v1, state: .frozen)))
    }

    @Test func onTheWayBackItGoesOnBeforeTheFlip() {
        var rig = frozen()
        rig.hear(
            .directive(
                silent(3) {
                    $0.silenced = nil
                    $0.active = flip("back", to: v1)
                }))
        let done = rig.succeedInEverything()
        #expect(done.first == .silence(SilenceGoal(release: v1, state: .thawed)))
        #expect(done.count == 2 && rig.host.current?.release == v1)
        #expect(rig.journal.contains(.silenceOver))
        #expect(rig.engine.preview().silenced == Silence())
    }

    @Test func onTheWayBackItGoesOnThoughTheNewReleaseIsServedStill() {
        var rig = frozen()
        rig.hear(.directive(silent(3) { $0.silenced = nil }))
        #expect(rig.engine.work == .silence(SilenceGoal(release: v1, state: .thawed)))
    }

    /// The coordinator's word after the lift may be the first that this node hears since it froze.
    @Test(arguments: [true, false]) func itNeverGoesOnUnderAnotherRun(_ isClosed: Bool) {
        var rig = frozen().restarted(after: .seconds(60))
        rig.host.current = CurrentRelease(release: v2, generation: CacheGeneration(rawValue: 2))
        rig.hear(.surveyed(rig.host))
        rig.succeed()
        let later = directive(1, epoch: 2) {
            $0.run = isClosed ? run2 : nil
            $0.writes = isClosed ? hold : .open
        }
        rig.hear(.directive(later))
        #expect(rig.engine.work == .silence(SilenceGoal(release: v1, state: .ended)))
        rig.succeed()
        #expect(rig.journal.last == .silenceOver)
        #expect(rig.engine.preview().silenced == Silence())
    }

    @Test func aReleaseThatIsServedIsThawedAndNeverEnded() {
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(silent(1) { $0.active = nil }))
        rig.succeed()
        rig.hear(
            .directive(
                silent(2) {
                    $0.active = nil
                    $0.writes = .open
                }))
        #expect(rig.engine.work == nil, "frozen it stays, until the coordinator says otherwise")
        rig.hear(.directive(directive(3)))
        #expect(rig.engine.work == .silence(SilenceGoal(release: v1, state: .thawed)))
    }

    @Test func theNextAgentLooksAgainAtWhatTheLastOneFroze() {
        var rig = frozen().restarted(after: .seconds(1))
        rig.host.current = CurrentRelease(release: v2, generation: CacheGeneration(rawValue: 2))
        rig.hear(.surveyed(rig.host))
        #expect(rig.engine.preview().silenced?.state == .waiting)
        let done = rig.succeedInEverything()
        #expect(done.contains(.silence(SilenceGoal(release: v1, state: .frozen))))
        #expect(rig.engine.preview().silenced?.state == .silent)
    }

    @Test func whatSomethingStartsAgainIsLookedForAsLongAsItIsAsked() {
        var rig = frozen()
        #expect(rig.engine.work == nil)
        let ready = rig.wait(NodeEngine.silenceInterval)
        #expect(ready.work == .silence(SilenceGoal(release: v1, state: .frozen)))
    }

    @Test func anEndedReleaseIsLookedForMoreAndMoreRarely() {
        var rig = frozen()
        rig.hear(.directive(silent(3) { $0.writes = .open }))
        rig.succeed()
        var looks = 0
        for _ in 0..<600 {
            if rig.wait(.seconds(1)).work != nil { looks += 1 }
            rig.succeed()
        }
        #expect(looks == 13, "2, 4, 8, 16, 32 and then each 60 seconds")
    }

    /// A supervisor, a cron job: what ran although it had been silent is kept, and said until the next run.
    @Test func whatRunsAfterTheLiftIsSaid() {
        let goal = SilenceGoal(release: v1, state: .ended)
        func found(_ running: [String], problem: String? = nil) -> NodeInput {
            .ended(
                .silence(goal),
                .silenced(SilenceResult(frozen: 0, problem: problem, running: running)))
        }
        var rig = frozen()
        rig.hear(.directive(silent(3) { $0.writes = .open }))
        rig.succeed()
        #expect(rig.engine.preview().silenced?.late == nil)
        #expect(rig.wait(NodeEngine.silenceInterval).work == .silence(goal))
        rig.hear(found(["cron.py 1", "cron.py 2"]))
        #expect(
            rig.engine.preview().silenced
                == Silence(
                    release: v1, state: .silent,
                    late: LateProcesses(count: 2, examples: ["cron.py 1", "cron.py 2"])))
        // One that comes back while it is being ended.
        _ = rig.wait(.minutes(1))
        rig.hear(found(["cron.py 3"], problem: "comes back"))
        _ = rig.wait(.minutes(1))
        rig.hear(found(["cron.py 4"]))
        _ = rig.wait(.minutes(1))
        rig.hear(found([]))
        let late = rig.engine.preview().silenced?.late
        #expect(late?.count == 4 && late?.examples.last == "cron.py 4")
        rig.hear(.directive(directive(4) { $0.run = run2 }))
        _ = rig.succeedInEverything()
        #expect(rig.engine.preview().silenced == Silence())
    }

    /// What a new agent finds first may be what the last one was about to end.
    @Test func whatANewAgentFindsFirstIsNotCalledLate() {
        var rig = frozen()
        rig.hear(.directive(silent(3) { $0.writes = .open }))
        rig = rig.restarted(after: .seconds(1))
        rig.host.current = CurrentRelease(release: v2, generation: CacheGeneration(rawValue: 2))
        rig.hear(.surveyed(rig.host))
        let goal = SilenceGoal(release: v1, state: .ended)
        #expect(rig.engine.work == .silence(goal))
        rig.hear(
            .ended(.silence(goal), .silenced(SilenceResult(frozen: 0, running: ["gunicorn 1"]))))
        #expect(rig.engine.preview().silenced == Silence(release: v1, state: .silent))
    }

    /// A run back to the older release, soon after the lift of the first one.
    @Test func whatTheNextRunStartsAgainIsNotEndedByALookThatWasDue() {
        var rig = frozen()
        rig.hear(.directive(silent(3) { $0.writes = .open }))
        rig.succeed()
        rig.hear(
            .directive(
                directive(4) {
                    $0.run = run2
                    $0.stage = v1
                    $0.tasks = [task("start-v1")]
                }))
        let done = rig.succeedInEverything()
        #expect(done.first == .silence(SilenceGoal(release: v1, state: .ended)))
        #expect(done.dropFirst().first == .run(task("start-v1")))
        for _ in 0..<120 {
            #expect(rig.wait(.seconds(1)).work == nil)
        }
    }

    @Test func whatCannotBeFrozenIsSaidAndTriedAgain() {
        var rig = Rig(staged: [v1, v2], active: v2)
        rig.hear(.directive(silent(1) { $0.active = nil }))
        let result = SilenceResult(frozen: 1, cut: 2, problem: "a process does not stop")
        rig.hear(.ended(.silence(SilenceGoal(release: v1, state: .frozen)), .silenced(result)))
        let said = rig.engine.preview().silenced
        #expect(said?.state == .failed("a process does not stop") && said?.cut == 2)
        #expect(rig.wait(NodeEngine.effectRetryDelay).work != nil)
        rig.succeed()
        #expect(
            rig.engine.preview().silenced == Silence(release: v1, frozen: 3, cut: 2, state: .silent)
        )
    }

    // MARK: - As soon as nothing needs it

    private let health = HealthGoal(
        identity: TaskIdentity(rawValue: "h"), check: HealthCheckName(unchecked: "page"),
        release: ReleaseName(unchecked: "v2"), consecutive: 1)

    /// What a run asks of a node whose batch has begun.
    private func replacing(_ revision: Int64, _ change: (inout Directive) -> Void = { _ in })
        -> Directive
    {
        silent(revision) {
            $0.silenced = nil
            $0.replaced = v1
            $0.tasks = [task("reload", .afterActivation)]
            $0.health = health
            change(&$0)
        }
    }

    /// The proof before the lift is there already when it is asked for.
    @Test func whatIsReplacedIsFrozenOnceTheNewReleaseAnswersAndNotBefore() {
        let freeze = NodeWork.silence(SilenceGoal(release: v1, state: .frozen))
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(replacing(1)))
        #expect(rig.engine.preview().silenced == Silence(), "v1 is served still")
        let done = rig.succeedInEverything()
        #expect(done.count == 4 && done.last == freeze)
        #expect(done[2] == .probe(health))
        #expect(rig.journal.last == .silenceBegan(SilenceMemory(release: v1, run: run1)))
        var verified = health
        verified.identity = TaskIdentity(rawValue: "verify")
        let ready = rig.hear(
            .directive(
                replacing(2) {
                    $0.replaced = nil
                    $0.silenced = v1
                    $0.health = verified
                }))
        #expect(ready.works == [.probe(verified)], "nothing is frozen anew")
        #expect(rig.engine.preview().silenced == Silence(release: v1, frozen: 3, state: .silent))
    }

    /// A run that waits for a person leaves readers the release that they have.
    @Test func whatIsReplacedIsServedOnWhereTheFlipFails() {
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(replacing(1)))
        guard let flip = rig.engine.work, case .activate = flip else {
            Issue.record("no flip")
            return
        }
        #expect(rig.hear(.ended(flip, .failed("disk full"))).works == [])
        #expect(rig.engine.preview().silenced == Silence())
    }

    @Test func onTheWayBackWhatWasReplacedGoesOn() {
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(replacing(1)))
        _ = rig.succeedInEverything()
        rig.hear(.directive(silent(2) { $0.silenced = nil }))
        #expect(rig.engine.work == .silence(SilenceGoal(release: v1, state: .thawed)))
    }

    /// The next agent proves health anew, and what its node has frozen does not go on for that time.
    @Test func whatWasReplacedStaysFrozenWhileTheNextAgentAsksForHealth() {
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(replacing(1)))
        _ = rig.succeedInEverything()
        rig = rig.restarted(after: .seconds(1))
        rig.host.current = CurrentRelease(release: v2, generation: CacheGeneration(rawValue: 2))
        let ready = rig.hear(.surveyed(rig.host))
        #expect(
            ready.works == [
                .silence(SilenceGoal(release: v1, state: .frozen)), .probe(health),
            ])
    }

    /// Writers wait for both, and need not wait for one after the other.
    @Test func healthIsAskedWhileAReleaseIsBeingFrozen() {
        let freeze = NodeWork.silence(SilenceGoal(release: v1, state: .frozen))
        var rig = Rig(staged: [v1, v2], active: v2)
        let asked = silent(1) {
            $0.active = nil
            $0.health = health
        }
        #expect(rig.hear(.directive(asked)).works == [freeze, .probe(health)])
        let bad = rig.hear(.ended(.probe(health), .probed(isGood: false, detail: "502")))
        #expect(bad.works == [])
        #expect(rig.wait(NodeEngine.probeInterval).works == [.probe(health)])
        rig.hear(.ended(.probe(health), .probed(isGood: true, detail: "200")))
        #expect(rig.engine.preview().health?.state == .healthy)
        #expect(rig.engine.preview().silenced?.state == .waiting)
        rig.succeed()
        #expect(rig.engine.preview().silenced?.state == .silent)
    }

    /// The window lasts until the gate is said to be open; what is frozen can wait.
    @Test func theGateIsSaidToBeOpenBeforeAnythingIsEnded() {
        var rig = frozen()
        rig.hear(.gate(GateObservation(writes: .hold)))
        _ = rig.engine.status(at: rig.now)
        #expect(rig.hear(.directive(silent(3) { $0.writes = .open })).works == [])
        let opened = rig.hear(.gate(GateObservation()))
        #expect(opened.works == [] && opened.proof == nil)
        _ = rig.engine.status(at: rig.now)
        let told = rig.hear(.contact)
        #expect(told.works == [.silence(SilenceGoal(release: v1, state: .ended))])
        #expect(told.proof == ProofGoal(run: run1, isClosed: false))
    }

    // MARK: - What no coordinator says

    @Test(arguments: [
        directive(5) { $0.keepReleases = .max }, directive(5, epoch: .max),
        directive(5) { $0.lease.duration = Span(milliseconds: .max) },
        directive(5) {
            $0.writes = .refuse(retryAfter: Span(milliseconds: .max), message: "")
        },
    ])
    func aDirectiveOutOfBoundsIsNeitherObeyedNorWrittenDown(_ bad: Directive) {
        var rig = Rig.closed()
        let known = rig.engine.memory
        let ready = rig.hear(.directive(bad))
        #expect(ready.journal.isEmpty && rig.engine.memory == known)
    }

    @Test func aJournalThatHasOneIsReadAndTheLastGoodDirectiveCounts() {
        let good = directive(1) { $0.writes = hold }
        let bad = directive(2) { $0.lease.duration = Span(milliseconds: .max) }
        var rig = Rig([.accepted(good), .accepted(bad)])
        #expect(rig.hear(.time).gate?.writes == hold)
        #expect(rig.engine.memory.directive == good)
    }
}
