// SPDX-License-Identifier: Apache-2.0

import NodeEngine
import UpgradeModel

/// A node that does what its directive asks, at once, except for what a scenario makes go wrong.
struct FakeNode {
    let name: NodeName
    /// It does not answer.
    var isLost = false
    /// The new release is not healthy there.
    var isUnhealthy = false
    /// The release that it served before does not answer any more.
    var isOldDead = false
    /// What it serves on the standby does not answer.
    var isStandbyDead = false { didSet { real?.isStandbyDead = isStandbyDead } }
    /// Write requests that never end.
    var stuckWrites = 0
    /// Read requests in the hands of what it served before that never end.
    var stuckReads = 0
    var failingTask: String?
    var failingGoal: NodeFailure.Goal?
    /// Its agent does not know how to silence a release, or cannot.
    var isOld = false
    var failsToFreeze = false
    /// What of the old release runs there once writes are open again.
    var late: LateProcesses?
    /// What its agent says of its addresses.
    var addresses: [String]?
    /// Its agent knows how to silence a release and nothing that came later.
    var lacksAbilities = false
    /// What its proxy's configuration says.
    var limits: ProxyLimits?
    var bounds: [ProxyBound]?
    var room: HoldingRoom?
    /// Where its agent could not try its gate.
    var unknownWay: String?
    /// By what its proxy knows a session.
    var sessionMarks: String? = "cookie:sessionid"
    /// What is wrong with its proxy: writes pass the gate by, once it is closed or always.
    var disproof: String?
    var isDisprovedWhenClosed = false
    /// Its agent does not know what a pass is.
    var makesNoPass = false
    /// An action that its configuration does not have.
    var missingAction: String?
    /// Why a person has opened its gate.
    var breakGlass: String?
    var active: ActiveRelease
    /// The node as it is; `nil`: one that obeys at once, which transcripts are told with.
    var real: SimulatedNode?
    var staged: [ReleaseReference]
    private(set) var directive: Directive?
    private(set) var generation: Int64 = 1
    private var sequence: Int64 = 0

    init(_ name: NodeName, serves release: ReleaseReference) {
        self.name = name
        active = ActiveRelease(
            release: release, identity: nil, cacheGeneration: CacheGeneration(rawValue: 1))
        staged = [release]
    }

    /// What a migration tool does on it, one run after the other; the rest ends well.
    var tools: [ToolBehaviour] = []
    private var toolRuns: [TaskIdentity: ToolBehaviour] = [:]
    private var toolsBegun: [ToolBegun] = []

    /// The tools that it has begun since it was asked last.
    mutating func takeTools() -> [ToolBegun] {
        defer { toolsBegun = [] }
        return toolsBegun + (real?.takeTools() ?? [])
    }

    private mutating func begin(_ task: NodeTask) {
        guard task.tool != nil, toolRuns[task.identity] == nil else { return }
        let behaviour = tools.isEmpty ? .done : tools.removeFirst()
        toolRuns[task.identity] = behaviour
        toolsBegun.append(
            ToolBegun(task: task, behaviour: behaviour, digest: .test(task.identity)))
    }

    private func outcome(_ task: NodeTask) -> TaskOutcome {
        let state = toolRuns[task.identity].map { $0.state ?? .running } ?? .done
        return task.name == failingTask
            ? TaskOutcome(identity: task.identity, state: .failed, output: "exit 1")
            : TaskOutcome(
                identity: task.identity, state: state, output: state == .failed ? "exit 1" : "",
                preview: task.preview(state))
    }

    /// The sites that are closed there.
    var closedSites: Set<DatabaseName> {
        get { real?.closedSites ?? obediently.closed }
        set {
            real?.closedSites = newValue
            obediently.closed = newValue
        }
    }
    private var obediently = SiteSwitches()

    /// The names of all tasks that were done.
    private(set) var done: Set<String> = []

    /// Whether its gate lets writes through, whatever it was told.
    var isGateOpen: Bool {
        if let real { return real.gate.writes.isOpen }
        return breakGlass != nil || directive?.writes.isOpen ?? true
    }

    /// Whether its gate lets no read through, whatever it was told.
    var holdsReads: Bool {
        if let real { return real.gate.reads != nil }
        return directive.map { gate($0).readsHeld } ?? false
    }

    /// Whether nothing of a release can write any more.
    func isSilent(_ release: ReleaseReference) -> Bool {
        if let real { return real.silenced == release }
        return directive?.silenced == release
    }

    /// Time passes, also on a node that nobody hears.
    mutating func pass(to now: Instant) {
        real?.hear(.time, at: now)
        mirror()
    }

    /// What it was told, serves and has done, as the world asks for it.
    private mutating func mirror() {
        guard let real else { return }
        directive = real.engine.memory.directive
        if let current = real.host.current {
            active = ActiveRelease(
                release: current.release, identity: nil, cacheGeneration: current.generation)
        }
    }

    mutating func take(_ new: Directive, at now: Instant) {
        guard real != nil else { return take(new) }
        real?.hear(.directive(new), at: now)
        // A timer of the agent's own: what it put off is done.
        real?.hear(.time, at: now)
        mirror()
    }

    mutating func status(at now: Instant) -> NodeStatus {
        guard real != nil else { return status() }
        return real!.status(at: now)
    }

    mutating func take(_ new: Directive) {
        if let directive, !new.isNewer(than: directive) { return }
        directive = new
        done.formUnion(new.tasks.map(\.name))
        for task in new.tasks {
            begin(task)
            if task.name != failingTask { obediently.perform(task) }
        }
        if let stage = new.stage, !staged.contains(stage), failingGoal != .stage {
            staged.append(stage)
        }
        if let goal = new.active, failingGoal != .activate, active.identity != goal.identity {
            generation += 1
            active = ActiveRelease(
                release: goal.release, identity: goal.identity,
                cacheGeneration: CacheGeneration(rawValue: generation))
        }
        if let unstage = new.unstage, active.release != unstage {
            staged.removeAll { $0 == unstage }
        }
    }

    mutating func status() -> NodeStatus {
        sequence += 1
        let directive = directive ?? Directive(epoch: .zero, revision: 0)
        return NodeStatus(
            epoch: directive.epoch, revision: directive.revision, boot: "boot", sequence: sequence,
            agentVersion: "1", gate: gate(directive), lease: directive.lease.onExpiry,
            staged: staged,
            staging: nil, active: active, service: directive.service,
            tasks: directive.tasks.map(outcome),
            health: directive.health.map {
                HealthObservation(
                    identity: $0.identity, state: isGood($0) ? .healthy : .checking, detail: "")
            },
            failures: failures(directive), diskFree: 1 << 30, breakGlass: breakGlass,
            silenced: isOld ? nil : silence(directive),
            abilities: isOld || lacksAbilities ? nil : AgentAbility.allCases.map(\.rawValue),
            pass: isOld || makesNoPass ? nil : directive.pass.map(offer),
            vacated: directive.vacated.map(vacancy), addresses: addresses)
    }

    private func vacancy(_ release: ReleaseReference) -> Vacancy {
        Vacancy(release: release, requests: active.release == release ? nil : stuckReads)
    }

    private func isGood(_ goal: HealthGoal) -> Bool {
        if goal.release == ScenarioWorld.old.name, isStandbyDead,
            active.release.database == .standby
        {
            return false
        }
        return goal.release == ScenarioWorld.old.name ? !isOldDead : !isUnhealthy
    }

    private func offer(_ goal: PassGoal) -> PassOffer {
        let missing = goal.actions.first { $0.rawValue == missingAction }
        guard let missing else { return PassOffer(test: goal) }
        return PassOffer(
            task: goal.task, digest: nil, problem: "`\(missing)` is not among the actions")
    }

    /// Connections that are open still when its old release is silenced.
    var cut = 0

    private func silence(_ directive: Directive) -> Silence {
        let isServing =
            directive.active.map { $0.identity == active.identity } ?? false
            && directive.health.map(isGood) ?? true
        guard let release = directive.silenced ?? (isServing ? directive.replaced : nil) else {
            return Silence()
        }
        return Silence(
            release: release, frozen: failsToFreeze ? 0 : 4, cut: cut,
            state: failsToFreeze ? .failed("4 processes do not stop") : .silent,
            late: directive.writes.isOpen ? late : nil, connections: connections)
    }

    /// Those of its frozen processes.
    var connections: [String]?

    private func gate(_ directive: Directive) -> GateObservation {
        let isAnswering = directive.health.map(isGood) ?? true
        let isLetGo = directive.reads.until == active.identity && isAnswering
        let isHolding =
            directive.reads.hold != nil && (directive.reads.until == nil || !isLetGo)
        return GateObservation(
            writes: breakGlass == nil ? directive.writes.kind : .open, readsHeld: isHolding,
            readsSettled: isHolding,
            writesInFlight: directive.writes.isOpen ? 3 + stuckWrites : stuckWrites,
            proof: proof(directive), sessionsHeld: directive.sessions != nil,
            sessionsSettled: directive.sessions != nil, sessionMarks: sessionMarks,
            writesWaited: 12, readsWaited: 3, sessionReadsWaited: 1)
    }

    private func proof(_ directive: Directive) -> GateProof? {
        guard let disproof, !isDisprovedWhenClosed || !directive.writes.isOpen else {
            if let unknownWay { return GateProof(.untried, unknownWay) }
            return limits == nil && bounds == nil && room == nil
                ? nil : GateProof(.proved, limits: limits, bounds: bounds, room: room)
        }
        return GateProof(.failed, disproof)
    }

    private func failures(_ directive: Directive) -> [NodeFailure] {
        switch failingGoal {
        case .stage where directive.stage != nil:
            [NodeFailure(goal: .stage, message: "blob has another digest")]
        case .activate where directive.active != nil:
            [NodeFailure(goal: .activate, message: "disk full")]
        default: []
        }
    }
}

/// What actions close and open.
struct SiteSwitches {
    var closed: Set<DatabaseName> = []
    private var done: Set<TaskIdentity> = []

    mutating func perform(_ task: NodeTask) {
        guard let database = task.database, done.insert(task.identity).inserted else { return }
        if task.name == "close-site" { closed.insert(database) }
        if task.name == "open-site" { closed.remove(database) }
    }
}

extension NodeTask {
    /// What a test's tool says that it would do, where that is what it was asked and it has ended well.
    func preview(_ state: TaskOutcome.State) -> String? {
        tool?.unfenced == .preview && state == .done
            ? "ALTER TABLE book ADD COLUMN slug text;" : nil
    }
}
