// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import UpgradeModel

/// A node as it is: the real engine, a journal that survives the agent, a gate and a host on which everything that is asked for
/// succeeds. The agent can be killed between any two effects; the next one folds the journal and goes on.
struct SimulatedNode {
    let name: NodeName
    private(set) var engine: NodeEngine
    private(set) var host: HostFacts
    /// What the gate does, as its own files have it.
    private(set) var gate = GateTarget.open
    private(set) var service = Service.in
    /// The identities of the tasks that were really begun.
    private(set) var begun: Set<TaskIdentity> = []
    /// The release whose processes are frozen, or gone.
    private(set) var silenced: ReleaseReference?
    /// What it serves on the standby does not answer.
    var isStandbyDead = false
    /// The agent is killed after so many effects more; `nil`: it lives.
    var effectsLeft: Int?
    /// What a migration tool does on it, one run after the other; the rest ends well.
    var tools: [ToolBehaviour] = []
    private var toolsBegun: [ToolBegun] = []
    private var sites = SiteSwitches()
    /// The sites that are closed there.
    var closedSites: Set<DatabaseName> {
        get { sites.closed }
        set { sites.closed = newValue }
    }
    /// The tool that does not end.
    private var hanging: NodeWork?
    private var records: [NodeJournalRecord] = []
    /// Whose each generation is.
    private var generations: [CacheGeneration: ReleaseReference]
    private var boots = 0

    init(_ name: NodeName, serves release: ReleaseReference, at now: Instant) {
        self.name = name
        generations = [CacheGeneration(rawValue: 1): release]
        host = HostFacts(
            staged: [release],
            current: CurrentRelease(release: release, generation: CacheGeneration(rawValue: 1)),
            diskFree: 1 << 30)
        engine = NodeEngine(
            memory: NodeMemory(), host: host, gate: GateObservation(), service: .in,
            identity: .init(boot: "\(name)-0", version: "1"), at: now)
    }

    /// Puts an input in, and does all that follows.
    mutating func hear(_ input: NodeInput, at now: Instant) {
        var inputs = [input]
        while !inputs.isEmpty {
            for effect in engine.step(inputs.removeFirst(), at: now).effects {
                if isKilled() { return start(at: now) }
                inputs += interpret(effect)
            }
        }
    }

    mutating func status(at now: Instant) -> NodeStatus { engine.status(at: now) }

    private mutating func isKilled() -> Bool {
        guard let left = effectsLeft else { return false }
        effectsLeft = left > 0 ? left - 1 : nil
        return left == 0
    }

    /// The next agent on the same node.
    private mutating func start(at now: Instant) {
        boots += 1
        hanging = nil
        var memory = NodeMemory()
        for record in records { memory.apply(record) }
        if let record = memory.recordAtStart(at: now, clockWentBack: false) {
            records.append(record)
            memory.apply(record)
        }
        engine = NodeEngine(
            memory: memory, host: host, gate: observation, service: service,
            identity: .init(boot: "\(name)-\(boots)", version: "1"), at: now)
        hear(.time, at: now)
    }

    private mutating func interpret(_ effect: NodeEffect) -> [NodeInput] {
        switch effect {
        case .journal(let new):
            records += new
            return []
        case .setGate(let target):
            gate = target
            return [.gate(observation), .effected(.gate, failure: nil)]
        case .setService(let service):
            self.service = service
            return [.effected(.service, failure: nil)]
        case .prove(let goal): return [.proved(goal, GateProof(.proved))]
        case .watch(let release): return [.vacated(Vacancy(release: release, requests: 0))]
        case .makePass(let goal): return [.passMade(goal, PassOffer(test: goal))]
        // Requests of a simulated node end at once.
        case .begin(let work): return begin(work)
        case .endWork: return []
        case .endTool:
            guard let work = hanging, case .run(let task) = work else { return [] }
            hanging = nil
            let killed = TaskOutcome(identity: task.identity, state: .failed, output: "killed")
            return [.ended(work, .task(killed))]
        case .report: return []
        }
    }

    private mutating func begin(_ work: NodeWork) -> [NodeInput] {
        guard case .run(let task) = work, task.tool != nil else {
            return [.ended(work, perform(work))]
        }
        let behaviour = tools.isEmpty ? .done : tools.removeFirst()
        begun.insert(task.identity)
        toolsBegun.append(
            ToolBegun(task: task, behaviour: behaviour, digest: .test(task.identity)))
        guard let state = behaviour.state else {
            hanging = work
            return []
        }
        let outcome = TaskOutcome(
            identity: task.identity, state: state, preview: task.preview(state))
        return [.ended(work, .task(outcome))]
    }

    /// The tools that it has begun since it was asked last.
    mutating func takeTools() -> [ToolBegun] {
        defer { toolsBegun = [] }
        return toolsBegun
    }

    /// Everything that is asked for succeeds.
    private mutating func perform(_ work: NodeWork) -> WorkResult {
        if case .stage(let release) = work { stage(release) }
        if case .unstage(let release) = work { host.staged.removeAll { $0 == release } }
        if case .activate(let plan) = work { return activate(plan) }
        if case .probe(let goal) = work {
            let isDead =
                isStandbyDead && goal.place != .ownSocket
                && host.current?.release.database == .standby
            return .probed(isGood: !isDead, detail: isDead ? "500" : "200")
        }
        if case .run(let task) = work {
            begun.insert(task.identity)
            sites.perform(task)
            return .task(TaskOutcome(identity: task.identity, state: .done))
        }
        if case .resolve(let task) = work {
            let isTool = task.tool.map { $0.unfenced != .preview } ?? false
            let state: TaskOutcome.State =
                !isTool && begun.contains(task.identity) ? .done : .unknown
            return .task(
                TaskOutcome(identity: task.identity, state: state, preview: task.preview(state)))
        }
        if case .silence(let goal) = work {
            silenced = goal.state == .thawed ? nil : goal.release
            return .silenced(SilenceResult(frozen: goal.state == .frozen ? 4 : 0))
        }
        return .done(host)
    }

    /// Prepares its flip as well, under a generation of its own or that of the same release on another database.
    private mutating func stage(_ release: ReleaseReference) {
        host.staged.append(release)
        let generation =
            host.current.flatMap {
                $0.release.isOnAnotherDatabase(than: release) ? $0.generation : nil
            } ?? highest.next
        generations[generation] = release
        if generation >= host.latest?.generation ?? .zero {
            host.latest = CurrentRelease(release: release, generation: generation)
        }
    }

    private var highest: CacheGeneration { generations.keys.max() ?? .zero }

    /// A generation is one release's for ever, and none is used again but for the release that is served.
    private mutating func activate(_ plan: ActivationPlan) -> WorkResult {
        let known = generations[plan.generation]
        if let known, !known.isSameApplication(as: plan.release) {
            return .failed(
                "generation \(plan.generation.rawValue) is that of \(known.name) already")
        }
        let isKept = host.current.map {
            $0.generation == plan.generation && $0.release.isSameApplication(as: plan.release)
        }
        guard plan.generation >= highest || isKept == true else {
            return .failed("generation \(plan.generation.rawValue) is stale")
        }
        generations[plan.generation] = plan.release
        host.flip(to: CurrentRelease(release: plan.release, generation: plan.generation))
        return .done(host)
    }

    private var observation: GateObservation {
        GateObservation(
            writes: gate.writes.kind, readsHeld: gate.reads != nil,
            readsSettled: gate.reads != nil, writesInFlight: gate.writes.isOpen ? 3 : 0,
            sessionsHeld: gate.sessions != nil, sessionsSettled: gate.sessions != nil,
            sessionMarks: "cookie:sessionid")
    }
}
