// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// One thing that an agent does because its engine says so.
public enum NodeEffect: Hashable, Sendable {
    /// Durable before anything that follows. When that fails, nothing that follows is done.
    case journal([NodeJournalRecord])
    case setGate(GateTarget)
    case setService(Service)
    /// Send a marked write through the proxy.
    case prove(ProofGoal)
    case makePass(PassGoal)
    /// Watch the last requests of a release.
    case watch(ReleaseReference)
    case begin(NodeWork)
    /// End the current work as soon as possible; a freeze and a migration tool go on.
    case endWork
    /// End the migration tool as soon as possible.
    case endTool
    /// Send a status.
    case report
}

extension NodeReady {
    /// What follows, in the order in which it is done. An agent may die between any two: the next one folds the journal, looks at
    /// the host, and goes on.
    public var effects: [NodeEffect] {
        (journal.isEmpty ? [] : [.journal(journal)])
            + (gate.map { [.setGate($0)] } ?? [])
            + (service.map { [.setService($0)] } ?? [])
            + (proof.map { [.prove($0)] } ?? [])
            + (pass.map { [.makePass($0)] } ?? [])
            + (vacancy.map { [.watch($0)] } ?? [])
            + works.map { .begin($0) }
            + (cancelsWork ? [.endWork] : [])
            + (cancelsTool ? [.endTool] : [])
            + (report ? [.report] : [])
    }
}
