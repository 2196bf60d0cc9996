// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import UpgradeModel

func release(_ name: String, _ digit: Character = "a") -> ReleaseReference {
    guard let manifest = Digest(String(repeating: digit, count: 64)) else {
        preconditionFailure("a digest")
    }
    return ReleaseReference(name: ReleaseName(unchecked: name), manifest: manifest)
}

let v1 = release("v1", "a")
let v2 = release("v2", "b")
let hold = WriteAdmission.hold(
    HoldLimits(atMost: 10, duration: .seconds(15), retryAfter: .seconds(5)))
let readHold = HoldLimits(atMost: 10, duration: .seconds(10), retryAfter: .seconds(5))

func task(_ identity: String, _ timing: TaskTiming = .beforeActivation) -> NodeTask {
    NodeTask(
        identity: TaskIdentity(rawValue: identity), kind: .action, name: "act", timing: timing,
        release: v2)
}

func flip(_ identity: String, to release: ReleaseReference = v2) -> ActivationGoal {
    ActivationGoal(release: release, identity: ActivationIdentity(unchecked: identity))
}

func directive(_ revision: Int64, epoch: Int64 = 1, _ change: (inout Directive) -> Void = { _ in })
    -> Directive
{
    var directive = Directive(epoch: Epoch(rawValue: epoch), revision: revision)
    change(&directive)
    return directive
}

/// An engine on a host where everything that it asks for succeeds, as far as the test wants it to.
struct Rig {
    var engine: NodeEngine
    var now: Instant
    var journal: [NodeJournalRecord] = []
    var host: HostFacts

    init(
        _ records: [NodeJournalRecord] = [], staged: [ReleaseReference] = [v1],
        active: ReleaseReference = v1, at start: Instant = Instant(milliseconds: 1_000_000),
        cachesByGeneration: Set<String> = []
    ) {
        now = start
        var memory = NodeMemory()
        for record in records { memory.apply(record) }
        host = HostFacts(
            staged: staged,
            current: CurrentRelease(release: active, generation: CacheGeneration(rawValue: 1)),
            diskFree: 1)
        engine = NodeEngine(
            memory: memory, host: host, gate: GateObservation(), service: .in,
            identity: .init(boot: "b", version: "0", cachesByGeneration: cachesByGeneration),
            at: now)
    }

    /// A node that holds writes under a lease of 30 s.
    static func closed(_ expiry: Lease.Expiry = .open) -> Rig {
        var rig = Rig()
        rig.hear(
            .directive(
                directive(1) {
                    $0.writes = hold
                    $0.lease = Lease(duration: .seconds(30), onExpiry: expiry)
                }))
        return rig
    }

    /// The next agent on the same node, after the last one was killed: what its start writes down, then its engine.
    func restarted(after span: Span, clockWentBack: Bool = false) -> Rig {
        var memory = NodeMemory()
        for record in journal { memory.apply(record) }
        let start = now + span
        let record = memory.recordAtStart(at: start, clockWentBack: clockWentBack)
        let records = journal + (record.map { [$0] } ?? [])
        var next = Rig(records, staged: host.staged, at: start)
        next.journal = records
        return next
    }

    /// What the gate does before the host has been looked at.
    var gateAtStart: GateTarget {
        var memory = NodeMemory()
        for record in journal { memory.apply(record) }
        return memory.gateAtStart
    }

    @discardableResult
    mutating func hear(_ input: NodeInput) -> NodeReady {
        let ready = engine.step(input, at: now)
        journal += ready.journal
        return ready
    }

    mutating func wait(_ span: Span) -> NodeReady {
        now = now + span
        return hear(.time)
    }

    /// Ends the current work well.
    @discardableResult
    mutating func succeed(_ output: String = "") -> NodeReady {
        guard let work = engine.work else { return hear(.time) }
        switch work {
        case .stage(let release): host.staged.append(release)
        case .activate(let plan):
            host.current = CurrentRelease(release: plan.release, generation: plan.generation)
        case .unstage(let release): host.staged.removeAll { $0 == release }
        case .run(let task), .resolve(let task):
            return hear(
                .ended(
                    work, .task(TaskOutcome(identity: task.identity, state: .done, output: output)))
            )
        case .probe: return hear(.ended(work, .probed(isGood: true, detail: "200")))
        case .silence(let goal):
            let frozen = goal.state == .frozen ? 3 : 0
            return hear(.ended(work, .silenced(SilenceResult(frozen: frozen))))
        case .prune: break
        }
        return hear(.ended(work, .done(host)))
    }

    /// All work that follows from here when everything succeeds, 100 pieces at most.
    mutating func succeedInEverything() -> [NodeWork] {
        var done: [NodeWork] = []
        while let work = engine.work, done.count < 100 {
            done.append(work)
            succeed()
        }
        return done
    }
}
