// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A node's reconciler: a value that compares what should be with what is.
///
/// Messages that are lost, late, repeated or reordered change nothing: only the newest directive counts, and what is in force is
/// observed, not remembered.
public struct NodeEngine: Sendable {
    public private(set) var memory: NodeMemory
    public private(set) var host: HostFacts
    public private(set) var gate: GateObservation
    public private(set) var service: Service
    /// The piece of work in hand.
    public private(set) var work: NodeWork?
    /// What the gate was last told.
    private var gateTold: GateTarget?
    private var serviceTold: Service?
    private var lastContact: Instant
    private var hasLeaseExpired = false
    private var failures: [NodeFailure.Goal: NodeFailure] = [:]
    private var hindrances = 0
    private var hinderedUntil: Instant?
    private var health: Health?
    private var hasPruned = false
    private var lastReport: NodeStatus?
    private var lastReportAt: Instant
    /// A status has been asked for and not been taken yet.
    private var isReportAsked = false
    /// The gate or the service could not be set; set again then.
    private var effectsRetryAt: Instant?
    private let identity: AgentIdentity

    private struct Health: Hashable {
        var goal: HealthGoal
        var inARow = 0
        var detail = "not asked yet"
        var nextAt: Instant
        var isHealthy: Bool { inARow >= goal.consecutive }
    }

    /// Which agent this is, for the status.
    public struct AgentIdentity: Hashable, Sendable {
        public var boot: String
        public var version: String

        public init(boot: String, version: String) {
            self.boot = boot
            self.version = version
        }
    }

    private var sequence: Int64 = 0

    /// The time between statuses when nothing happens; less under a lease that would run out between two.
    public static let heartbeat = Span.seconds(5)
    /// The time between statuses in which only numbers of a closed gate differ.
    public static let counterInterval = Span.milliseconds(250)
    /// The time after which a gate or a flag that could not be set is set again.
    public static let effectPatience = Span.seconds(1)
    /// The time between two questions of a health check.
    public static let probeInterval = Span.milliseconds(100)
    /// The time after the first hindrance; doubled with each one in a row, up to 64 times.
    public static let patience = Span.milliseconds(100)

    /// - Parameters:
    ///   - memory: folded from the journal.
    ///   - gate: what the gate does, as its own durable state has it.
    public init(
        memory: NodeMemory, host: HostFacts, gate: GateObservation, service: Service,
        identity: AgentIdentity, at now: Instant
    ) {
        self.memory = memory
        self.host = host
        self.gate = gate
        self.service = service
        serviceTold = service
        self.identity = identity
        // What was asked before the agent died is asked still: health that was proved then is proved anew.
        health = memory.directive?.health.map { Health(goal: $0, nextAt: now) }
        lastContact = now
        lastReportAt = now
    }

    public mutating func step(_ input: NodeInput, at now: Instant) -> NodeReady {
        var ready = NodeReady()
        take(input, at: now, &ready)
        watchLease(at: now, &ready)
        forgetEffects(at: now)
        setGate(&ready)
        setService(&ready)
        if work == nil { begin(at: now, &ready) }
        ready.cancelsWork = work.map { !isWanted($0) } ?? false
        // Whoever has been asked for a status and has not taken it yet will take one that says all of it.
        ready.report = !isReportAsked && (ready.report || isReportDue(at: now))
        isReportAsked = isReportAsked || ready.report
        ready.wakeAt = nextWake(at: now)
        return ready
    }

    /// What the next status would say.
    public func preview() -> NodeStatus { observe() }

    /// What the node is, now. Each call makes one status with a higher sequence.
    public mutating func status(at now: Instant) -> NodeStatus {
        sequence += 1
        var status = observe()
        status.sequence = sequence
        lastReport = status
        lastReportAt = now
        isReportAsked = false
        return status
    }
}

// MARK: - Taking in

extension NodeEngine {
    private mutating func record(_ record: NodeRecord, _ ready: inout NodeReady) {
        memory.apply(record)
        ready.journal.append(record)
    }

    private mutating func take(_ input: NodeInput, at now: Instant, _ ready: inout NodeReady) {
        switch input {
        case .directive(let directive):
            accept(directive, at: now, &ready)
        case .contact:
            lastContact = now
            hasLeaseExpired = false
        case .surveyed(let facts):
            host = facts
        case .gate(let observation):
            gate = observation
        case .effected(let goal, let failure):
            failures[goal] = failure.map {
                NodeFailure(goal: goal, message: String($0.prefix(2048)))
            }
            if failure != nil { effectsRetryAt = now + NodeEngine.effectPatience }
            if goal == .service, failure == nil, let serviceTold { service = serviceTold }
        case .ended(let ended, let result):
            guard ended == work else { return }
            work = nil
            // A hindrance of what nobody asks for any more keeps nothing waiting.
            if case .hindered = result, !isWanted(ended) { return }
            end(ended, result, at: now, &ready)
        case .breakGlass(let reason):
            record(.glassBroken(reason: reason, at: now), &ready)
            ready.alarms.append("break glass: the gate is opened by hand: \(reason)")
        case .mendGlass:
            guard memory.brokenGlass != nil else { return }
            record(.glassMended(at: now), &ready)
        case .time:
            break
        }
    }

    private mutating func accept(_ directive: Directive, at now: Instant, _ ready: inout NodeReady)
    {
        if let known = memory.directive, !directive.isNewer(than: known) {
            // A leader of an earlier epoch is no contact: its word keeps no gate closed.
            if directive.epoch == known.epoch { lastContact = now; hasLeaseExpired = false }
            return
        }
        lastContact = now
        hasLeaseExpired = false
        failures = failures.filter { $0.key == .gate || $0.key == .service }
        hindrances = 0
        hinderedUntil = nil
        hasPruned = false
        if health?.goal != directive.health {
            health = directive.health.map { Health(goal: $0, nextAt: now) }
        }
        record(.accepted(directive), &ready)
        ready.report = true
    }

    private mutating func end(
        _ ended: NodeWork, _ result: WorkResult, at now: Instant, _ ready: inout NodeReady
    ) {
        switch result {
        case .done(let facts):
            if let facts { host = facts }
            hindrances = 0
            if case .prune = ended { hasPruned = true }
        case .task(let outcome):
            record(.taskEnded(outcome.bounded), &ready)
        case .probed(let isGood, let detail):
            guard var asked = health, ended == .probe(asked.goal) else { return }
            asked.inARow = isGood ? asked.inARow + 1 : 0
            asked.detail = String(detail.prefix(512))
            // Good answers are counted quickly; a bad one is given time.
            asked.nextAt = isGood ? now : now + NodeEngine.probeInterval
            health = asked
        case .failed(let message):
            switch ended {
            case .run(let task), .resolve(let task):
                let outcome = TaskOutcome(identity: task.identity, state: .failed, output: message)
                end(ended, .task(outcome), at: now, &ready)
            case .probe: end(ended, .probed(isGood: false, detail: message), at: now, &ready)
            case .stage: fail(.stage, message)
            case .activate: fail(.activate, message)
            case .unstage: fail(.unstage, message)
            case .prune: fail(.prune, message)
            }
        case .hindered:
            hinderedUntil =
                now
                + Span(milliseconds: NodeEngine.patience.milliseconds << Int64(min(hindrances, 6)))
            hindrances += 1
        }
    }

    private mutating func fail(_ goal: NodeFailure.Goal, _ message: String) {
        failures[goal] = NodeFailure(goal: goal, message: String(message.prefix(2048)))
    }
}

// MARK: - Gate and service

extension NodeEngine {
    private mutating func watchLease(at now: Instant, _ ready: inout NodeReady) {
        guard let directive = memory.directive, !hasLeaseExpired,
            now >= lastContact + directive.lease.duration, gateWanted != .open
        else { return }
        hasLeaseExpired = true
        let age = now - lastContact
        switch directive.lease.onExpiry {
        case .open:
            ready.alarms.append("no word from the coordinator for \(age): the gate opens by itself")
        case .keep:
            ready.alarms.append(
                "no word from the coordinator for \(age), and the migration may have begun: the gate stays "
                    + "closed; see `sluice-agent break-glass --help`")
        }
    }

    /// What the gate should do by the directive alone.
    private var gateWanted: GateTarget {
        guard let directive = memory.directive else { return .open }
        return GateTarget(writes: directive.writes, reads: readsWanted(directive.reads))
    }

    private func readsWanted(_ reads: ReadAdmission) -> HoldLimits? {
        guard let until = reads.until else { return reads.hold }
        return activeIdentity == until ? nil : reads.hold
    }

    /// An effect that failed is asked for again once its time has come.
    private mutating func forgetEffects(at now: Instant) {
        guard let retry = effectsRetryAt, now >= retry else { return }
        effectsRetryAt = nil
        if failures[.gate] != nil { gateTold = nil }
        if failures[.service] != nil { serviceTold = nil }
    }

    private mutating func setGate(_ ready: inout NodeReady) {
        // Without a directive the gate stays as it was found, unless a person says otherwise.
        guard memory.directive != nil || memory.brokenGlass != nil else { return }
        let mayOpen = hasLeaseExpired && memory.directive?.lease.onExpiry == .open
        let target = memory.brokenGlass != nil || mayOpen ? .open : gateWanted
        if target != gateTold {
            gateTold = target
            ready.gate = target
        }
    }

    private mutating func setService(_ ready: inout NodeReady) {
        guard let wanted = memory.directive?.service, wanted != serviceTold else { return }
        serviceTold = wanted
        ready.service = wanted
    }

    /// The identity of the flip that the `current` link shows.
    private var activeIdentity: ActivationIdentity? {
        guard let plan = memory.activation, let current = host.current,
            plan.release == current.release,
            plan.generation == current.generation
        else { return nil }
        return plan.identity
    }
}

// MARK: - Work

extension NodeEngine {
    private mutating func begin(at now: Instant, _ ready: inout NodeReady) {
        guard let directive = memory.directive, let next = nextWork(directive, at: now) else {
            return
        }
        switch next {
        case .activate(let plan): record(.activationPlanned(plan), &ready)
        case .run(let task): record(.taskStarted(task.identity), &ready)
        case .stage, .resolve, .probe, .unstage, .prune: break
        }
        work = next
        ready.work = next
    }

    /// The first thing that is not as it should be. In order: on disk, warm, flipped, its actions, healthy, tidy.
    private func nextWork(_ directive: Directive, at now: Instant) -> NodeWork? {
        if let hinderedUntil, now < hinderedUntil { return nil }
        if let stage = directive.stage, !host.staged.contains(stage) {
            return failures[.stage] == nil ? .stage(stage) : nil
        }
        switch nextTask(directive, .beforeActivation) {
        case .work(let work): return work
        case .stuck: return nil
        case .finished: break
        }
        if let goal = directive.active, activeIdentity != goal.identity {
            return failures[.activate] == nil ? flip(goal) : nil
        }
        switch nextTask(directive, .afterActivation) {
        case .work(let work): return work
        case .stuck: return nil
        case .finished: break
        }
        if let health, !health.isHealthy {
            return now >= health.nextAt ? .probe(health.goal) : nil
        }
        if let unstage = directive.unstage, host.staged.contains(unstage), failures[.unstage] == nil
        {
            return .unstage(unstage)
        }
        if let keep = directive.keepReleases, !hasPruned, failures[.prune] == nil {
            return .prune(keep: keep)
        }
        return nil
    }

    /// Whether the work in hand still leads to what is asked. An action is never cut off: its timeout bounds it.
    private func isWanted(_ work: NodeWork) -> Bool {
        switch work {
        case .stage(let release): memory.directive?.stage == release
        case .probe(let goal): memory.directive?.health == goal
        case .activate, .run, .resolve, .unstage, .prune: true
        }
    }

    private enum TaskPosition { case work(NodeWork), stuck, finished }

    /// Tasks go in order, and one that failed stops those behind it.
    private func nextTask(_ directive: Directive, _ moment: NodeTask.Moment) -> TaskPosition {
        for task in directive.tasks where task.moment == moment {
            switch memory.tasks[task.identity]?.state {
            case nil: return .work(.run(task))
            case .running: return .work(.resolve(task))
            case .done: continue
            case .failed, .notStarted, .unknown: return .stuck
            }
        }
        return .finished
    }

    private func flip(_ goal: ActivationGoal) -> NodeWork {
        // The same identity keeps its generation, so that a flip that was interrupted is the same flip.
        if let plan = memory.activation, plan.identity == goal.identity,
            plan.release == goal.release,
            plan.generation >= host.current?.generation ?? .zero
        {
            return .activate(plan)
        }
        return .activate(
            ActivationPlan(
                identity: goal.identity, release: goal.release,
                generation: generation(for: goal.release)))
    }

    /// The generation that was prepared for this release and never served, or one higher than any before.
    private func generation(for release: ReleaseReference) -> CacheGeneration {
        let used = max(host.current?.generation ?? .zero, memory.activation?.generation ?? .zero)
        if let latest = host.latest, latest.release == release, latest.generation > used {
            return latest.generation
        }
        return max(used, host.latest?.generation ?? .zero).next
    }
}

extension TaskOutcome {
    var bounded: TaskOutcome {
        var copy = self
        copy.output = String(decoding: output.utf8.suffix(TaskOutcome.outputLimit), as: UTF8.self)
        return copy
    }
}

// MARK: - Reporting

extension NodeEngine {
    private func observe() -> NodeStatus {
        let directive = memory.directive
        return NodeStatus(
            epoch: directive?.epoch ?? .zero, revision: directive?.revision ?? 0,
            boot: identity.boot,
            sequence: 0, agentVersion: identity.version, gate: gate,
            lease: directive?.lease.onExpiry ?? .open, staged: host.staged, staging: nil,
            active: host.current.map {
                ActiveRelease(
                    release: $0.release, identity: activeIdentity, cacheGeneration: $0.generation)
            },
            service: service,
            tasks: (directive?.tasks ?? []).compactMap { memory.tasks[$0.identity] },
            health: health.map {
                HealthObservation(
                    identity: $0.goal.identity, state: $0.isHealthy ? .healthy : .checking,
                    detail: $0.detail)
            },
            failures: failures.values.sorted { $0.goal.rawValue < $1.goal.rawValue },
            diskFree: host.diskFree, breakGlass: memory.brokenGlass)
    }

    private func isReportDue(at now: Instant) -> Bool {
        guard let lastReport else { return true }
        return now >= nextReportAt || !observe().saysTheSame(as: lastReport)
    }

    /// When a status is due though a coordinator would conclude nothing new from it.
    private var nextReportAt: Instant {
        var pause = NodeEngine.heartbeat
        if let directive = memory.directive, gateWanted != .open {
            pause = min(pause, Span(milliseconds: directive.lease.duration.milliseconds / 3))
        }
        let isBusy = !gate.isIdle || !(lastReport?.gate.isIdle ?? true)
        if isBusy, gate != lastReport?.gate { pause = min(pause, NodeEngine.counterInterval) }
        return lastReportAt + pause
    }

    private func nextWake(at now: Instant) -> Instant? {
        var wakes: [Instant] = []
        if !isReportAsked { wakes.append(nextReportAt) }
        if let effectsRetryAt { wakes.append(effectsRetryAt) }
        if let directive = memory.directive, !hasLeaseExpired, gateWanted != .open {
            wakes.append(lastContact + directive.lease.duration)
        }
        if work == nil {
            if let hinderedUntil, hinderedUntil > now { wakes.append(hinderedUntil) }
            if let health, !health.isHealthy, health.nextAt > now { wakes.append(health.nextAt) }
        }
        return wakes.min()
    }
}

extension GateObservation {
    /// Open, and nobody waits: what comes and goes then is nobody's concern.
    fileprivate var isIdle: Bool {
        writes == .open && !readsHeld && writesWaiting == 0 && readsWaiting == 0
    }
}

extension NodeStatus {
    /// Whether a coordinator would conclude the same; numbers that only inform do not count.
    fileprivate func saysTheSame(as other: NodeStatus) -> Bool {
        var mine = self
        mine.sequence = other.sequence
        mine.diskFree = other.diskFree
        mine.staging = other.staging
        mine.health?.detail = other.health?.detail ?? ""
        let isDrained = gate.writesInFlight == 0
        let wasDrained = other.gate.writesInFlight == 0
        mine.gate = other.gate
        return mine == other && gate.writes == other.gate.writes
            && gate.readsHeld == other.gate.readsHeld
            && gate.readsSettled == other.gate.readsSettled && isDrained == wasDrained
    }
}
