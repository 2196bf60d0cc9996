// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

/// Agents that start again and again without the coordinator.
@Suite struct RestartTests {
    private let closedTarget = GateTarget(writes: hold, reads: nil)

    /// Each line: when an agent starts, what the gate does then, and what it has written down when it is killed 9 s later.
    @Test func aCrashLoopWithoutTheCoordinatorOpensWhenOneLeaseIsOver() {
        var rig = Rig.closed()
        let began = rig.now
        var transcript: [String] = []
        for _ in 0..<6 {
            let before = rig.journal.count
            rig = rig.restarted(after: .seconds(1))
            let start = rig.now - began
            let gate = rig.gateAtStart.writes.kind.rawValue
            rig.hear(.time)
            _ = rig.wait(.seconds(9))
            let records = rig.journal.dropFirst(before).map(\.type).joined(separator: " ")
            transcript.append("\(start) \(gate): \(records)")
        }
        #expect(
            transcript == [
                "1s hold: lease-resumed", "11s hold: ", "21s hold: ", "31s open: lease-expired",
                "41s open: ", "51s open: ",
            ])
    }

    @Test func aResumedLeaseRunsOutWhileAnAgentLivesAsWell() {
        var rig = Rig.closed().restarted(after: .seconds(1)).restarted(after: .seconds(20))
        #expect(rig.hear(.time).gate == closedTarget)
        #expect(rig.wait(.milliseconds(9_999)).gate == nil)
        let ready = rig.wait(.milliseconds(1))
        #expect(ready.gate == .open && ready.journal == [.leaseExpired(at: rig.now)])
        let next = rig.restarted(after: .seconds(1))
        #expect(next.gateAtStart == .open)
        #expect(next.engine.alarms == [.openedByItself(lease: .seconds(30))])
    }

    @Test func aNodeThatMayBeInTheMigrationStaysClosedThroughEveryRestart() {
        var rig = Rig.closed(.keep)
        for _ in 0..<5 {
            rig = rig.restarted(after: .minutes(5))
            #expect(rig.gateAtStart == closedTarget)
            #expect(rig.hear(.time).gate == closedTarget)
            #expect(rig.wait(.minutes(5)).gate == nil)
        }
        #expect(rig.journal.count == 1, "nothing is noted where nothing may open")
    }

    @Test(arguments: [true, false])
    func theCoordinatorsWordEndsWhatStartsWithoutItHaveLeft(isNews: Bool) {
        var rig = Rig.closed()
        for _ in 0..<3 { rig = rig.restarted(after: .seconds(40)) }
        #expect(rig.gateAtStart == .open)
        let word = isNews ? NodeInput.directive(directive(2) { $0.writes = hold }) : .contact
        let ready = rig.hear(word)
        #expect(ready.gate == closedTarget)
        #expect(rig.engine.memory.lease == nil && rig.engine.alarms.isEmpty)
        // The next start has a fresh lease again.
        let next = rig.restarted(after: .minutes(5))
        #expect(next.gateAtStart == closedTarget)
        #expect(next.engine.memory.lease == .resumed(at: next.now))
    }

    @Test func aLeaderOfAnEarlierEpochDoesNotRenewAResumedLease() {
        var rig = Rig()
        rig.hear(.directive(directive(1, epoch: 2) { $0.writes = hold }))
        rig = rig.restarted(after: .seconds(1))
        let ready = rig.hear(.directive(directive(9, epoch: 1) { $0.writes = hold }))
        #expect(ready.journal.isEmpty)
        #expect(rig.engine.memory.lease == .resumed(at: rig.now))
    }

    @Test func aClockThatWentBackEndsAResumedLeaseAndNotAFreshOne() {
        let first = Rig.closed().restarted(after: .seconds(1), clockWentBack: true)
        #expect(first.gateAtStart == closedTarget, "one fresh lease on the steady clock")
        let second = first.restarted(after: .milliseconds(1), clockWentBack: true)
        #expect(second.gateAtStart == .open)
        #expect(second.journal.last == .leaseExpired(at: second.now))
    }

    @Test func anOpenGateHasNoLeaseToResume() {
        var rig = Rig()
        rig.hear(.directive(directive(1)))
        #expect(rig.restarted(after: .seconds(1)).journal.count == 1)
        rig.hear(.directive(directive(2) { $0.writes = hold }))
        rig.hear(.breakGlass(reason: "r"))
        #expect(rig.restarted(after: .seconds(1)).journal == rig.journal)
    }
}

@Suite struct AlarmTests {
    private func lost() -> Rig {
        var rig = Rig()
        rig.hear(.directive(directive(1) { $0.writes = hold }))
        _ = rig.wait(.seconds(30))
        return rig
    }

    @Test func anAlarmEndsWhenItsCauseEnds() {
        var rig = lost()
        #expect(rig.engine.alarms == [.openedByItself(lease: .seconds(30))])
        let ready = rig.hear(.contact)
        #expect(ready.endedAlarms == [.openedByItself(lease: .seconds(30))])
        #expect(rig.engine.alarms.isEmpty)
        #expect(rig.hear(.contact).endedAlarms.isEmpty)
    }

    @Test func aBrokenGlassIsAnAlarmThroughRestartsUntilSomebodyEndsIt() {
        var rig = lost()
        #expect(rig.hear(.breakGlass(reason: "r")).alarms == [.glassBroken(reason: "r")])
        #expect(rig.hear(.contact).endedAlarms.isEmpty)
        var next = rig.restarted(after: .seconds(1))
        #expect(next.hear(.time).alarms == [.glassBroken(reason: "r")])
        #expect(next.hear(.endBreakGlass).endedAlarms == [.glassBroken(reason: "r")])
        #expect(next.engine.alarms.isEmpty)
    }

    @Test func anApplicationThatCannotBeReachedTwiceInARowIsAnAlarmUntilItCan() {
        var rig = Rig()
        _ = rig.engine.status(at: rig.now)
        #expect(rig.hear(.application(v1, trouble: "nobody")).alarms.isEmpty)
        let ready = rig.hear(.application(v1, trouble: "nobody"))
        #expect(ready.alarms == [.applicationUnreachable("nobody")] && ready.report)
        let health = rig.engine.status(at: rig.now).health
        #expect(health?.state == .checking && health?.detail == "nobody")
        let after = rig.hear(.application(v1, trouble: nil))
        #expect(after.endedAlarms == [.applicationUnreachable("nobody")] && after.report)
        #expect(rig.engine.status(at: rig.now).health == nil)
    }

    @Test func anApplicationThatIsNotServedAnyMoreIsNobodysConcern() {
        var rig = Rig()
        for _ in 0..<2 { rig.hear(.application(v2, trouble: "nobody")) }
        #expect(rig.engine.alarms.isEmpty)
    }

    @Test func theChecksOfARunSpeakForThemselves() {
        var rig = Rig()
        let goal = HealthGoal(
            identity: TaskIdentity(rawValue: "h"), check: HealthCheckName(unchecked: "page"),
            release: v1.name, consecutive: 1)
        rig.hear(.directive(directive(1) { $0.health = goal }))
        for _ in 0..<2 { rig.hear(.application(v1, trouble: "nobody")) }
        #expect(rig.engine.preview().health?.identity == goal.identity)
        #expect(rig.engine.alarms == [.applicationUnreachable("nobody")])
    }
}
