// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// A node that is at once what its directive asks, and says so.
struct SwarmAgent {
    private(set) var directive = Directive(epoch: .zero, revision: 0)
    private var active: ActiveRelease
    private var staged: Set<ReleaseReference>
    private var sequence: Int64 = 0
    private let boot: String

    init(_ name: NodeName, serves release: ReleaseReference) {
        active = ActiveRelease(release: release, identity: nil, cacheGeneration: .zero)
        staged = [release]
        boot = "\(name)-\(UInt32.random(in: 0 ... .max))"
    }

    /// - Returns: whether it asks for something new.
    mutating func take(_ new: Directive) -> Bool {
        guard new.isNewer(than: directive) else { return false }
        directive = new
        if let stage = new.stage { staged.insert(stage) }
        if let goal = new.active, active.identity != goal.identity {
            active = ActiveRelease(
                release: goal.release, identity: goal.identity,
                cacheGeneration: active.cacheGeneration.next)
        }
        if let unstage = new.unstage, active.release != unstage { staged.remove(unstage) }
        return true
    }

    mutating func status() -> NodeStatus {
        sequence += 1
        let holdsReads = directive.reads.hold != nil && directive.reads.until != active.identity
        return NodeStatus(
            epoch: directive.epoch, revision: directive.revision, boot: boot, sequence: sequence,
            agentVersion: "0.1.0",
            gate: GateObservation(
                writes: directive.writes.kind, readsHeld: holdsReads, readsSettled: holdsReads),
            lease: directive.lease.onExpiry, staged: staged.sorted { $0.manifest < $1.manifest },
            staging: nil, active: active, service: directive.service,
            tasks: directive.tasks.map { TaskOutcome(identity: $0.identity, state: .done) },
            health: directive.health.map {
                HealthObservation(identity: $0.identity, state: .healthy, detail: "200")
            }, failures: [], diskFree: 1 << 30,
            silenced: Silence(
                release: directive.silenced, state: directive.silenced == nil ? .idle : .silent))
    }
}
