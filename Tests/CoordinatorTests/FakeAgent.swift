// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import UpgradeModel

/// An agent that does what its directive asks, at once, and reports it.
struct FakeAgent {
    let name: NodeName
    var active: ActiveRelease
    var staged: Set<ReleaseReference>
    var directive = Directive(epoch: .zero, revision: 0)
    /// Every directive that it was told, in order.
    var told: [Directive] = []
    private var sequence: Int64 = 0
    private let boot: String

    init(_ name: NodeName, serves release: ReleaseReference) {
        self.name = name
        active = ActiveRelease(release: release, identity: nil, cacheGeneration: .zero)
        staged = [release]
        boot = "\(name)-\(UInt32.random(in: 0 ... .max))"
    }

    /// Polls and reports until the coordinator says no more, or the task is cancelled.
    mutating func serve(_ coordinator: RunCoordinator) async {
        do {
            _ = try await coordinator.report(status(), from: name)
            while !Task.isCancelled {
                let query = DirectiveQuery(
                    epoch: directive.epoch, revision: directive.revision, wait: .seconds(30))
                guard let new = try await coordinator.directive(for: name, query) else { continue }
                take(new)
                _ = try await coordinator.report(status(), from: name)
            }
        } catch {
            // The coordinator has ended; a real agent would ask the next one.
        }
    }

    mutating func take(_ new: Directive) {
        told.append(new)
        guard new.isNewer(than: directive) else { return }
        directive = new
        if let stage = new.stage { staged.insert(stage) }
        if let goal = new.active, active.identity != goal.identity {
            active = ActiveRelease(
                release: goal.release, identity: goal.identity,
                cacheGeneration: active.cacheGeneration.next)
        }
        if let unstage = new.unstage, active.release != unstage { staged.remove(unstage) }
    }

    mutating func status() -> NodeStatus {
        sequence += 1
        let isHoldingReads = directive.reads.hold != nil && directive.reads.until != active.identity
        return NodeStatus(
            epoch: directive.epoch, revision: directive.revision, boot: boot, sequence: sequence,
            agentVersion: "1",
            gate: GateObservation(
                writes: directive.writes.kind, readsHeld: isHoldingReads,
                readsSettled: isHoldingReads),
            lease: directive.lease.onExpiry,
            staged: staged.sorted { $0.manifest < $1.manifest }, staging: nil, active: active,
            service: directive.service,
            tasks: directive.tasks.map { TaskOutcome(identity: $0.identity, state: .done) },
            health: directive.health.map {
                HealthObservation(identity: $0.identity, state: .healthy, detail: "200")
            }, failures: [], diskFree: 1 << 30,
            silenced: directive.silenced.map { Silence(release: $0, state: .silent) } ?? Silence(),
            abilities: AgentAbility.allCases.map(\.rawValue),
            vacated: directive.vacated.map {
                Vacancy(release: $0, requests: active.release == $0 ? nil : 0)
            })
    }
}
