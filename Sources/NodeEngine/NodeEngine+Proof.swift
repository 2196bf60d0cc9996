// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A marked write through the proxy, which only the gate can answer. One for each state of the gate in each run: what was so in the
/// last run says nothing of a proxy that has been configured anew.
public struct ProofGoal: Hashable, Sendable {
    public var run: RunIdentifier
    public var isClosed: Bool

    public init(run: RunIdentifier, isClosed: Bool) {
        self.run = run
        self.isClosed = isClosed
    }
}

extension NodeEngine {
    mutating func proveGate(_ ready: inout NodeReady) {
        guard let run = memory.directive?.run, memory.brokenGlass == nil else {
            proofGoal = nil
            proof = nil
            return
        }
        let isClosed = !(gateSent?.writes.isOpen ?? (gate.writes == .open))
        let goal = ProofGoal(run: run, isClosed: isClosed)
        if goal != proofGoal {
            proofGoal = goal
            proof = GateProof(.waiting)
            isProofAsked = false
        }
        // A gate that has not been set yet cannot be tried.
        guard !isProofAsked, (gate.writes != .open) == isClosed else { return }
        // The window lasts until a gate is said to be open, and nobody waits for the proof of that.
        guard isClosed || hasSaidOpen else { return }
        isProofAsked = true
        ready.proof = goal
    }

    mutating func noteProof(_ result: GateProof, of goal: ProofGoal) {
        guard goal == proofGoal else { return }
        proof = result
        proof?.detail = String(result.detail.prefix(1024))
    }

    /// Somebody asks again for what has failed: the proxy may have been put right.
    mutating func askForProofAnew() {
        guard proof?.state == .failed else { return }
        proof = GateProof(.waiting)
        isProofAsked = false
    }
}
