// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import Testing
import UpgradeModel

/// Whether the gate is asked is tried once for each state of the gate in each run, and said in the status.
@Suite struct ProofTests {
    private let run = RunIdentifier(unchecked: "run-1")

    private func goal(_ isClosed: Bool, _ run: String = "run-1") -> ProofGoal {
        ProofGoal(run: RunIdentifier(unchecked: run), isClosed: isClosed)
    }

    private func begun() -> (Rig, NodeReady) {
        var rig = Rig()
        let ready = rig.hear(.directive(directive(1) { $0.run = run }))
        return (rig, ready)
    }

    @Test func outsideARunNothingIsTriedAndNothingIsSaid() {
        var rig = Rig()
        let ready = rig.hear(.directive(directive(1)))
        #expect(ready.proof == nil)
        #expect(rig.engine.preview().gate.proof == nil)
    }

    @Test func aRunTriesTheOpenGateAndTheClosedOneEachOnce() {
        var (rig, ready) = begun()
        #expect(ready.proof == goal(false))
        #expect(rig.engine.preview().gate.proof?.state == .waiting)
        rig.hear(.proved(goal(false), GateProof(.proved)))
        #expect(rig.engine.preview().gate.isProved)
        ready = rig.hear(
            .directive(
                directive(2) { [run] in
                    $0.run = run; $0.writes = hold
                }))
        // Not before the gate is closed.
        #expect(ready.gate?.writes == hold && ready.proof == nil)
        #expect(rig.engine.preview().gate.proof?.state == .waiting)
        ready = rig.hear(.gate(GateObservation(writes: .hold)))
        #expect(ready.proof == goal(true))
        #expect(rig.hear(.time).proof == nil)
        rig.hear(.proved(goal(true), GateProof(.proved)))
        let more = directive(3) { [run] in
            $0.run = run
            $0.writes = hold
            $0.reads = ReadAdmission(hold: readHold)
        }
        #expect(rig.hear(.directive(more)).proof == nil)
        #expect(rig.engine.preview().gate.isProved)
    }

    @Test func whatComesBackOfAnotherStateOrRunSaysNothing() {
        var (rig, _) = begun()
        rig.hear(.proved(goal(true), GateProof(.proved)))
        rig.hear(.proved(goal(false, "run-0"), GateProof(.proved)))
        #expect(rig.engine.preview().gate.proof?.state == .waiting)
        rig.hear(.proved(goal(false), GateProof(.proved)))
        let next = directive(2) { $0.run = RunIdentifier(unchecked: "run-2") }
        #expect(rig.hear(.directive(next)).proof == goal(false, "run-2"))
        #expect(rig.engine.preview().gate.proof?.state == .waiting)
    }

    @Test func whatHasFailedIsSaidAndTriedAnewWhenSomebodyAsksAgain() {
        var (rig, _) = begun()
        // The status that the directive asked for has been taken.
        _ = rig.engine.status(at: rig.now)
        var ready = rig.hear(.proved(goal(false), GateProof(.failed, "a rewrite")))
        #expect(ready.report)
        #expect(rig.engine.preview().gate.disproof == "a rewrite")
        ready = rig.hear(.directive(directive(2) { [run] in $0.run = run }))
        #expect(ready.proof == goal(false))
        #expect(rig.engine.preview().gate.disproof == nil)
        #expect(!rig.engine.preview().gate.isProved)
    }
}
