// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

/// Reads that wait for a flip go on when the release that came with it answers, and not before.
@Suite struct HeldReadsTests {
    private let check = HealthGoal(
        identity: TaskIdentity(rawValue: "h"), check: HealthCheckName(unchecked: "page"),
        release: ReleaseName(unchecked: "v2"), consecutive: 2)

    private func flipping(_ revision: Int64) -> Directive {
        directive(revision) {
            $0.writes = hold
            $0.reads = ReadAdmission(hold: readHold, until: ActivationIdentity(unchecked: "f"))
            $0.active = flip("f")
            $0.tasks = [task("reload", .afterActivation)]
            $0.health = check
        }
    }

    private func flipped() -> Rig {
        var rig = Rig(staged: [v1, v2])
        let ready = rig.hear(.directive(flipping(1)))
        #expect(ready.gate == GateTarget(writes: hold, reads: readHold))
        rig.hear(.gate(GateObservation(writes: .hold, readsHeld: true)))
        return rig
    }

    @Test func neitherTheFlipNorItsActionsLetThemGoButHealthDoes() {
        var rig = flipped()
        #expect(rig.succeed().gate == nil, "flipped")
        #expect(rig.succeed().gate == nil, "its action done")
        #expect(rig.succeed().gate == nil, "one good answer of two")
        #expect(rig.succeed().gate == GateTarget(writes: hold, reads: nil))
    }

    @Test func aReleaseWithoutActionsAndHealthLetsThemGoAtTheFlip() {
        var rig = Rig(staged: [v1, v2])
        var asked = flipping(1)
        asked.tasks = []
        asked.health = nil
        rig.hear(.directive(asked))
        #expect(rig.succeed().gate == GateTarget(writes: hold, reads: nil))
    }

    @Test func anActionThatFailsKeepsThem() {
        var rig = flipped()
        rig.succeed()
        let work = rig.engine.work
        guard case .run(let reload)? = work else {
            return #expect(Bool(false), "\(String(describing: work))")
        }
        let failed = TaskOutcome(identity: reload.identity, state: .failed, output: "exit 1")
        #expect(rig.hear(.ended(.run(reload), .task(failed))).gate == nil)
        #expect(rig.wait(.seconds(5)).gate == nil)
    }

    @Test func onceLetGoTheyAreNotHeldAgainWhenHealthIsAskedAnew() {
        var rig = flipped()
        for _ in 0..<4 { rig.succeed() }
        var verifying = flipping(2)
        verifying.health?.identity = TaskIdentity(rawValue: "verify")
        #expect(rig.hear(.directive(verifying)).gate == nil)
        #expect(rig.engine.work == .probe(verifying.health ?? check))
    }

    @Test func theWayBackHoldsThemUntilTheOldReleaseAnswers() {
        var rig = flipped()
        for _ in 0..<4 { rig.succeed() }
        var answers = check
        answers.identity = TaskIdentity(rawValue: "back")
        answers.release = v1.name
        answers.standard = .anyAnswer
        let back = directive(2) {
            $0.writes = hold
            $0.reads = ReadAdmission(hold: readHold, until: ActivationIdentity(unchecked: "b"))
            $0.active = flip("b", to: v1)
            $0.health = answers
        }
        #expect(rig.hear(.directive(back)).gate == GateTarget(writes: hold, reads: readHold))
        #expect(rig.succeed().gate == nil, "flipped")
        let silent = WorkResult.probed(isGood: false, detail: "connection refused")
        #expect(rig.hear(.ended(.probe(answers), silent)).gate == nil)
        #expect(rig.wait(.seconds(1)).work == .probe(answers))
        #expect(rig.succeed().gate == nil, "one good answer of two")
        #expect(rig.succeed().gate == GateTarget(writes: hold, reads: nil))
    }

    /// A standby that was lost, came back, and is lost again.
    @Test func readsThatPassedMeanwhileAreHeldAnew() {
        var rig = flipped()
        for _ in 0..<4 { rig.succeed() }
        var passing = flipping(2)
        passing.reads = .pass
        rig.hear(.directive(passing))
        var again = flipping(3)
        again.health?.identity = TaskIdentity(rawValue: "again")
        #expect(rig.hear(.directive(again)).gate == GateTarget(writes: hold, reads: readHold))
        #expect(rig.succeed().gate == nil, "one good answer of two")
        #expect(rig.succeed().gate == GateTarget(writes: hold, reads: nil))
    }

    /// A coordinator of an earlier version asks for no answer.
    @Test func theWayBackHoldsThemUntilItsOwnFlip() {
        var rig = flipped()
        for _ in 0..<4 { rig.succeed() }
        let back = directive(2) {
            $0.writes = hold
            $0.reads = ReadAdmission(hold: readHold, until: ActivationIdentity(unchecked: "b"))
            $0.active = flip("b", to: v1)
        }
        #expect(rig.hear(.directive(back)).gate == GateTarget(writes: hold, reads: readHold))
        #expect(rig.succeed().gate == GateTarget(writes: hold, reads: nil))
    }

    @Test func theReadsOfSessionsAreHeldForAsLongAsTheDirectiveSays() {
        var rig = Rig()
        let closed = directive(1) {
            $0.writes = hold
            $0.sessions = readHold
        }
        let target = GateTarget(writes: hold, reads: nil, sessions: readHold)
        #expect(rig.hear(.directive(closed)).gate == target)
        #expect(rig.gateAtStart == target, "also after a restart")
        #expect(rig.hear(.directive(directive(2))).gate == .open)
    }
}
