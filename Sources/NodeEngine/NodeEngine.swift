// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A node's reconciler: a value that compares what should be with what is.
///
/// Messages that are lost, late, repeated or reordered change nothing: only the newest directive counts, and what is in force is
/// observed, not remembered.
public struct NodeEngine: Sendable {
    public internal(set) var memory: NodeMemory
    public internal(set) var host: HostFacts
    public internal(set) var gate: GateObservation
    public internal(set) var service: Service
    /// The current pieces of work: one, or a freeze and a question of health, neither of which touches what the other looks at; or a
    /// migration tool and what leads readers elsewhere meanwhile.
    public internal(set) var works: [NodeWork] = []
    public var work: NodeWork? { works.first }
    /// What the gate was last told.
    var gateSent: GateTarget?
    var serviceSent: Service?
    /// The flip whose release has answered, so that no read waits for it any more.
    var readsLetGo: ActivationIdentity?
    /// The marked write that says whether the gate is asked, and what came of it.
    public internal(set) var proofGoal: ProofGoal?
    var proof: GateProof?
    var isProofAsked = false
    var lastContact: Instant
    var hasLeaseExpired = false
    var failures: [NodeFailure.Goal: NodeFailure] = [:]
    var retryCount = 0
    var retryAt: Instant?
    var health: Health?
    var hasPruned = false
    var silence: SilenceProgress?
    /// The pass that was made last, and what was asked for then.
    var pass: PassOffer?
    var passAsked: PassGoal?
    /// What is left of the requests of the release that was asked for last.
    var vacancy: Vacancy?
    var vacancyAsked: ReleaseReference?
    var lastReport: NodeStatus?
    var lastReportAt: Instant
    /// A status has been asked for and not been taken yet.
    var isReportAsked = false
    /// When the last directive came.
    var acceptedAt: Instant?
    /// The gate or the service could not be set; set again then.
    var effectsRetryAt: Instant?
    var unreachable: Unreachable?
    /// The alarms that the last step knew.
    var announced: [NodeAlarm] = []
    let identity: AgentIdentity
    /// When this agent began, for the status: it orders an agent's boots.
    let startedAt: Instant

    struct Health: Hashable {
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
        public var abilities: [AgentAbility]
        /// The caches of this node whose keys contain the generation: the flip is their flush.
        public var cachesByGeneration: Set<String>
        /// The node's own addresses, as others see them.
        public var addresses: [String]

        public init(
            boot: String, version: String, abilities: [AgentAbility] = AgentAbility.allCases,
            cachesByGeneration: Set<String> = [], addresses: [String] = []
        ) {
            self.addresses = addresses
            self.boot = boot
            self.version = version
            self.abilities = abilities
            self.cachesByGeneration = cachesByGeneration
        }
    }

    var sequence: Int64 = 0

    /// The time between statuses when nothing happens; less under a lease that would run out between two.
    public static let heartbeat = Span.seconds(5)
    /// The time between statuses in which only numbers of a closed gate differ.
    public static let counterInterval = Span.milliseconds(250)
    /// How long a status waits for what a directive has begun. Most of it ends within that time, and one that says all of it is one request
    /// instead of three, from each node at each step.
    public static let gatheringInterval = Span.milliseconds(40)
    /// The time after which a gate or a flag that could not be set is set again.
    public static let effectRetryDelay = Span.seconds(1)
    /// The time between two questions of a health check.
    public static let probeInterval = Span.milliseconds(100)
    /// The time before the first retry; doubled with each one in a row, up to 64 times.
    public static let retryDelay = Span.milliseconds(100)

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
        serviceSent = service
        self.identity = identity
        startedAt = now
        // What was asked before the agent died is asked still: health that was proved then is proved anew.
        health = memory.directive?.health.map { Health(goal: $0, nextAt: now) }
        switch memory.lease {
        case .resumed(let start): lastContact = start
        case .expired, nil: lastContact = now
        }
        hasLeaseExpired = memory.hasOpenedByItself
        lastReportAt = now
        // Those that an earlier agent has let go are not held again while health is proved anew.
        if !gate.readsHeld, activeIdentity == memory.directive?.reads.until {
            readsLetGo = activeIdentity
        }
    }

    public mutating func step(_ input: NodeInput, at now: Instant) -> NodeReady {
        var ready = NodeReady()
        handle(input, at: now, &ready)
        watchLease(at: now, &ready)
        forgetEffects(at: now)
        letReadsGo()
        setGate(&ready)
        setService(&ready)
        proveGate(&ready)
        askForPass(&ready)
        askForVacancy(&ready)
        begin(at: now, &ready)
        announceAlarms(&ready)
        ready.cancelsWork = works.contains { !$0.isTool && !isWanted($0) }
        ready.cancelsTool = works.contains { $0.isTool && !isWanted($0) }
        // Whoever has been asked for a status and has not taken it yet will take one that says all of it.
        ready.report =
            !isReportAsked && !isGathering(at: now) && (ready.report || isReportDue(at: now))
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
