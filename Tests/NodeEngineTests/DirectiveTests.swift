// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

@Suite struct DirectiveTests {
    @Test func repeatedDirectiveChangesNothing() {
        var rig = Rig()
        let first = directive(3) { $0.writes = hold }
        rig.hear(.directive(first))
        _ = rig.engine.status(at: rig.now)
        let memory = rig.engine.memory
        let ready = rig.hear(.directive(first))
        #expect(ready.journal.isEmpty && ready.gate == nil && ready.work == nil && !ready.report)
        #expect(rig.engine.memory == memory)
    }

    @Test(arguments: [(1, 9), (2, 1), (2, 4)] as [(Int64, Int64)])
    func aDirectiveOfALowerEpochOrRevisionChangesNothing(epoch: Int64, revision: Int64) {
        var rig = Rig()
        rig.hear(.directive(directive(5, epoch: 2) { $0.writes = hold }))
        let ready = rig.hear(.directive(directive(revision, epoch: epoch) { $0.stage = v2 }))
        #expect(ready.journal.isEmpty && ready.gate == nil && ready.work == nil)
        #expect(rig.engine.memory.directive?.revision == 5)
    }

    @Test func aRestartedNodeRefusesALowerEpoch() {
        var first = Rig()
        first.hear(.directive(directive(1, epoch: 7)))
        var second = Rig(first.journal)
        second.hear(.directive(directive(99, epoch: 6) { $0.writes = hold }))
        #expect(second.engine.memory.directive?.epoch == Epoch(rawValue: 7))
        #expect(second.engine.memory.directive?.writes == .open)
    }

    /// Every order of the same directives, with each repeated, ends in the same memory.
    @Test func orderAndRepetitionOfDirectivesDoNotMatter() {
        let all = [
            directive(1), directive(2) { $0.writes = hold }, directive(3) { $0.stage = v2 },
            directive(1, epoch: 2) { $0.service = .out },
        ]
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var rig = Rig()
            for one in (all + all).shuffled(using: &random) { rig.hear(.directive(one)) }
            #expect(rig.engine.memory.directive == all[3])
        }
    }

    @Test func theGateIsSetInTheStepThatAcceptsTheDirective() {
        var rig = Rig()
        let closing = directive(1) { $0.writes = hold }
        let ready = rig.hear(.directive(closing))
        #expect(ready.journal == [.accepted(closing)])
        #expect(ready.gate == GateTarget(writes: hold, reads: nil))
        #expect(ready.report)
    }

    @Test func serviceFollowsTheDirectiveAndIsReportedOnceItIsSo() {
        var rig = Rig()
        let ready = rig.hear(.directive(directive(1) { $0.service = .out }))
        #expect(ready.service == .out)
        #expect(rig.engine.preview().service == .in)
        rig.hear(.effected(.service, failure: nil))
        #expect(rig.engine.preview().service == .out)
    }

    @Test func aGateThatCannotBeSetIsReportedAndSetAgain() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.writes = hold }))
        rig.hear(.effected(.gate, failure: "no space"))
        #expect(rig.engine.preview().failures == [NodeFailure(goal: .gate, message: "no space")])
        #expect(rig.wait(.milliseconds(500)).gate == nil)
        #expect(rig.wait(.milliseconds(500)).gate == GateTarget(writes: hold, reads: nil))
        rig.hear(.effected(.gate, failure: nil))
        #expect(rig.engine.preview().failures.isEmpty)
    }
}

@Suite struct LeaseTests {
    @Test func aLeaseThatRunsOutBeforeTheMigrationOpensTheGate() {
        var rig = Rig.closed(.open)
        #expect(rig.wait(.milliseconds(29_999)).gate == nil)
        let ready = rig.wait(.milliseconds(1))
        #expect(ready.gate == .open)
        #expect(ready.journal == [.leaseExpired(at: rig.now)])
        #expect(ready.alarms == [.openedByItself(lease: .seconds(30))])
    }

    @Test func aLeaseThatRunsOutAfterwardsKeepsTheGateClosedLoudlyOnce() {
        var rig = Rig.closed(.keep)
        let ready = rig.wait(.seconds(31))
        #expect(ready.gate == nil && ready.journal.isEmpty)
        #expect(ready.alarms == [.keptClosed(lease: .seconds(30))])
        #expect(rig.wait(.seconds(31)).alarms.isEmpty)
    }

    @Test func contactKeepsTheLeaseAndContactAfterItClosesAgain() {
        var rig = Rig.closed(.open)
        _ = rig.wait(.seconds(20))
        rig.hear(.contact)
        #expect(rig.wait(.seconds(29)).gate == nil)
        #expect(rig.wait(.seconds(1)).gate == .open)
        let again = rig.hear(.contact)
        #expect(again.gate == GateTarget(writes: hold, reads: nil))
        #expect(again.journal == [.leaseRenewed(at: rig.now)])
        #expect(rig.hear(.contact).journal.isEmpty, "contact is not news for the journal")
    }

    @Test func aLeaderOfAnEarlierEpochIsNoContact() {
        var rig = Rig()
        rig.hear(.directive(directive(1, epoch: 2) { $0.writes = hold }))
        _ = rig.wait(.seconds(29))
        rig.hear(.directive(directive(50, epoch: 1) { $0.writes = hold }))
        #expect(rig.wait(.seconds(1)).gate == .open)
    }

    @Test func anAgentThatWasKilledStartsItsLeaseAnewAndOpens() {
        let before = Rig.closed(.open)
        var rig = Rig(before.journal)
        #expect(rig.hear(.time).gate == GateTarget(writes: hold, reads: nil))
        #expect(rig.wait(.seconds(30)).gate == .open)
    }

    @Test func theEngineAsksToBeWokenWhenTheLeaseRunsOut() throws {
        var rig = Rig.closed(.open)
        _ = rig.engine.status(at: rig.now)
        var woken: [Span] = []
        let start = rig.now
        for _ in 0..<10 {
            let ready = rig.hear(.time)
            if ready.gate == .open { break }
            if ready.report { _ = rig.engine.status(at: rig.now) }
            rig.now = try #require(rig.hear(.time).wakeAt)
            woken.append(rig.now - start)
        }
        #expect(woken.last == .seconds(30))
    }
}

@Suite struct GateAtStartTests {
    @Test func theMemoryAloneSaysWhatTheGateHasToDoAtTheStart() {
        var memory = NodeMemory()
        #expect(memory.gateAtStart == .open)
        memory.apply(
            .accepted(
                directive(1) {
                    $0.writes = hold
                    $0.reads = ReadAdmission(
                        hold: readHold, until: ActivationIdentity(unchecked: "f"))
                }))
        #expect(memory.gateAtStart == GateTarget(writes: hold, reads: readHold))
        memory.apply(.glassBroken(reason: "r", at: Instant(milliseconds: 1)))
        #expect(memory.gateAtStart == .open)
        memory.apply(.breakGlassEnded(at: Instant(milliseconds: 2)))
        memory.apply(.accepted(directive(2)))
        #expect(memory.gateAtStart == .open)
    }
}

@Suite struct BreakGlassTests {
    @Test func brokenGlassOpensAgainstTheDirectiveAndSurvivesARestart() {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.writes = hold }))
        _ = rig.engine.status(at: rig.now)
        let ready = rig.hear(.breakGlass(reason: "gone"))
        #expect(ready.report)
        #expect(ready.gate == .open)
        #expect(ready.journal == [.glassBroken(reason: "gone", at: rig.now)])
        #expect(ready.alarms.count == 1)
        #expect(rig.hear(.directive(directive(2) { $0.writes = hold })).gate == nil)
        var restarted = Rig(rig.journal)
        #expect(restarted.hear(.time).gate == .open)
        #expect(restarted.engine.preview().breakGlass == "gone")
        #expect(restarted.hear(.endBreakGlass).gate == GateTarget(writes: hold, reads: nil))
        #expect(restarted.hear(.endBreakGlass).journal.isEmpty)
    }

    @Test func glassCanBeBrokenOnANodeThatHasNeverHeardOfACoordinator() {
        var rig = Rig()
        #expect(rig.hear(.time).gate == nil)
        #expect(rig.hear(.breakGlass(reason: "x")).gate == .open)
    }
}
