// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

@Suite struct ReportTests {
    private func quiet(_ directive: Directive) -> Rig {
        var rig = Rig()
        rig.hear(.directive(directive))
        rig.hear(.gate(GateObservation(writes: directive.writes.kind)))
        _ = rig.succeedInEverything()
        _ = rig.engine.status(at: rig.now)
        return rig
    }

    @Test func nothingNewIsReportedWithTheHeartbeatOnly() {
        var rig = quiet(directive(1))
        #expect(rig.hear(.time).wakeAt == rig.now + NodeEngine.heartbeat)
        #expect(!rig.wait(.milliseconds(4999)).report)
        #expect(rig.wait(.milliseconds(1)).report)
    }

    @Test func aStatusThatWasAskedForIsNotAskedForAgainUntilItIsTaken() {
        var rig = quiet(directive(1))
        #expect(rig.wait(.seconds(5)).report)
        let again = rig.wait(.seconds(50))
        #expect(!again.report)
        #expect(again.wakeAt == nil, "nothing to wake up for")
        let first = rig.engine.status(at: rig.now)
        let second = rig.engine.status(at: rig.now)
        #expect(second.sequence == first.sequence + 1)
    }

    @Test func aShortLeaseIsRenewedBeforeItRunsOut() throws {
        var rig = quiet(
            directive(1) {
                $0.writes = hold
                $0.lease = Lease(duration: .seconds(3))
            })
        #expect(try #require(rig.hear(.time).wakeAt) == rig.now + .seconds(1))
    }

    @Test func whyACheckDoesNotPassIsReportedSoon() throws {
        let goal = HealthGoal(
            identity: TaskIdentity(rawValue: "h"), check: HealthCheckName(unchecked: "page"),
            release: v1.name, consecutive: 2)
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.health = goal }))
        _ = rig.engine.status(at: rig.now)
        rig.hear(.ended(.probe(goal), .probed(isGood: false, detail: "502")))
        #expect(!rig.wait(.milliseconds(1)).report)
        #expect(rig.wait(NodeEngine.counterInterval).report)
        #expect(rig.engine.status(at: rig.now).health?.detail == "502")
        // The same answer again is nothing new.
        rig.hear(.ended(.probe(goal), .probed(isGood: false, detail: "502")))
        #expect(!rig.wait(NodeEngine.counterInterval).report)
    }

    @Test func drainedClosedAndOpenedAreReportedAtOnce() {
        var rig = quiet(directive(1) { $0.writes = hold })
        // What the directive has begun has had its time.
        rig.now = rig.now + NodeEngine.gatheringInterval
        rig.hear(.gate(GateObservation(writes: .hold, writesInFlight: 2)))
        _ = rig.engine.status(at: rig.now)
        #expect(rig.hear(.gate(GateObservation(writes: .hold, writesInFlight: 0))).report)
        _ = rig.engine.status(at: rig.now)
        #expect(rig.hear(.gate(GateObservation(writes: .open))).report)
        _ = rig.engine.status(at: rig.now)
        #expect(rig.hear(.gate(GateObservation(writes: .open, readsHeld: true))).report)
        _ = rig.engine.status(at: rig.now)
        #expect(
            rig.hear(.gate(GateObservation(writes: .open, readsHeld: true, readsSettled: true)))
                .report)
    }

    /// Each status is a request, of each node at each step.
    @Test func whatADirectiveHasBegunIsSaidWithItsEndWhereThatComesSoon() {
        var rig = Rig(staged: [v1, v2])
        let wanted = directive(1) {
            $0.active = flip("f")
            $0.tasks = [task("reload", .afterActivation)]
        }
        let begun = rig.hear(.directive(wanted))
        #expect(!begun.report && begun.wakeAt == rig.now + NodeEngine.gatheringInterval)
        #expect(!rig.succeed().report, "it has flipped, and its action runs")
        #expect(rig.succeed().report)
        #expect(rig.engine.status(at: rig.now).revision == 1)
    }

    @Test func whatTakesLongerIsSaidMeanwhile() {
        var rig = Rig()
        #expect(!rig.hear(.directive(directive(1) { $0.tasks = [task("slow")] })).report)
        #expect(rig.wait(NodeEngine.gatheringInterval).report)
        #expect(rig.engine.status(at: rig.now).tasks.map(\.state) == [.running])
    }

    @Test func whatFailsIsSaidAtOnce() {
        var rig = Rig(staged: [v1, v2])
        rig.hear(.directive(directive(1) { $0.active = flip("f") }))
        guard let work = rig.engine.work else {
            Issue.record("no flip")
            return
        }
        #expect(rig.hear(.ended(work, .failed("disk full"))).report)
    }

    @Test func aGateIsSaidToBeClosedWhenThatIsProved() {
        var rig = Rig()
        let run = RunIdentifier(unchecked: "run-1")
        let wanted = directive(1) {
            $0.run = run
            $0.writes = hold
        }
        #expect(!rig.hear(.directive(wanted)).report)
        #expect(!rig.hear(.gate(GateObservation(writes: .hold))).report)
        let goal = ProofGoal(run: run, isClosed: true)
        #expect(rig.hear(.proved(goal, GateProof(.proved))).report)
    }

    @Test func numbersOfAClosedGateAreReportedFourTimesASecond() {
        var rig = quiet(directive(1) { $0.writes = hold })
        let ready = rig.hear(.gate(GateObservation(writes: .hold, writesWaiting: 3)))
        #expect(!ready.report)
        #expect(ready.wakeAt == rig.now + .milliseconds(250))
        #expect(rig.wait(.milliseconds(250)).report)
    }

    @Test func numbersOfAnOpenGateAreNobodysConcern() {
        var rig = quiet(directive(1))
        rig.hear(.gate(GateObservation(writesInFlight: 1)))
        _ = rig.engine.status(at: rig.now)
        let ready = rig.hear(.gate(GateObservation(writesInFlight: 2)))
        #expect(!ready.report)
        #expect(ready.wakeAt == rig.now + NodeEngine.heartbeat)
    }

    @Test func onlyTheDirectivesOwnTasksAreReported() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.tasks = [task("old")] }))
        rig.succeed()
        rig.hear(.directive(directive(2) { $0.tasks = [task("new")] }))
        #expect(rig.engine.preview().tasks.map(\.identity.rawValue) == ["new"])
        #expect(rig.engine.memory.tasks.count == 1)
    }
}
