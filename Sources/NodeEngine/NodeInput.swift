// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What a node's engine hears.
public enum NodeInput: Hashable, Sendable {
    /// A directive has come. It also counts as contact.
    case directive(Directive)
    /// The coordinator has answered, with or without news.
    case contact
    /// What is on the host, as far as it can change without the engine.
    case surveyed(HostFacts)
    /// What the gate does and has to do.
    case gate(GateObservation)
    /// The gate or the service flag was set as the last ``NodeReady`` said, or why it could not be.
    case effected(NodeFailure.Goal, failure: String?)
    /// The current work has ended.
    case ended(NodeWork, WorkResult)
    /// The pass that the last ``NodeReady`` asked for, or why there is none.
    case passMade(PassGoal, PassOffer)
    /// A person opens the gate on this node against the coordinator's word.
    case breakGlass(reason: String)
    case endBreakGlass
    /// Whether something answers where this release's application listens, and why not.
    case application(ReleaseReference, trouble: String?)
    /// What a marked write through the proxy has said.
    case proved(ProofGoal, GateProof)
    /// What is left of a release's requests.
    case vacated(Vacancy)
    case time
}

/// What is on the host.
public struct HostFacts: Hashable, Sendable {
    /// Every release on disk, complete and verified.
    public var staged: [ReleaseReference]
    public var current: CurrentRelease?
    /// The highest generation on disk and its release: the current one, one prepared for the next flip, or one that was left.
    public var latest: CurrentRelease?
    /// Bytes free where releases are kept.
    public var diskFree: Int64

    public init(
        staged: [ReleaseReference], current: CurrentRelease?, latest: CurrentRelease? = nil,
        diskFree: Int64
    ) {
        self.staged = staged
        self.current = current
        self.latest = latest
        self.diskFree = diskFree
    }

    /// A flip to a release on another database keeps its generation, and the one that is prepared for the next flip is still the
    /// highest.
    public mutating func flip(to release: CurrentRelease) {
        current = release
        if release.generation >= latest?.generation ?? .zero { latest = release }
    }
}

/// The release that the `current` link points to.
public struct CurrentRelease: Hashable, Sendable {
    public var release: ReleaseReference
    public var generation: CacheGeneration

    public init(release: ReleaseReference, generation: CacheGeneration) {
        self.release = release
        self.generation = generation
    }
}

/// One piece of work; a node does one at a time, and asks for health beside a freeze.
public enum NodeWork: Hashable, Sendable {
    /// Fetch and verify a release beside the active one.
    case stage(ReleaseReference)
    /// Flip to a release under a generation.
    case activate(ActivationPlan)
    case run(NodeTask)
    /// A task was begun by an agent that died: find out how it ended without beginning it again blindly.
    case resolve(NodeTask)
    case probe(HealthGoal)
    /// Freeze, thaw or end the processes of a release. Safe to repeat.
    case silence(SilenceGoal)
    case unstage(ReleaseReference)
    case prune(keep: Int)

    /// Whether it is the run of the application's own migration tool, beside which other work may be under way.
    public var isTool: Bool {
        if case .run(let task) = self { task.tool != nil } else { false }
    }
}

/// How a piece of work ended.
public enum WorkResult: Hashable, Sendable {
    case done(HostFacts?)
    /// For `run` and `resolve`.
    case task(TaskOutcome)
    /// For `probe`.
    case probed(isGood: Bool, detail: String)
    /// For `silence`.
    case silenced(SilenceResult)
    /// Will not get better by itself: reported, and not tried again under this directive.
    case failed(String)
    /// May get better by itself, like a coordinator that does not answer: tried again after a while.
    case retryable(String)
}

/// What the gate should do. Carried out at once, and durable before it is in force.
public struct GateTarget: Hashable, Sendable {
    public var writes: WriteAdmission
    /// `nil`: reads pass.
    public var reads: HoldLimits?
    /// `nil`: the reads of those who have a session are reads like others.
    public var sessions: HoldLimits?
    /// How many of those who have waited are let go in a second; `nil`: as many as the application takes.
    public var pace: Int?

    public init(
        writes: WriteAdmission, reads: HoldLimits?, sessions: HoldLimits? = nil, pace: Int? = nil
    ) {
        self.writes = writes
        self.reads = reads
        self.sessions = sessions
        self.pace = pace
    }

    /// Whether everything passes, at whatever pace.
    public var isOpen: Bool { writes.isOpen && reads == nil && sessions == nil }

    public static let open = GateTarget(writes: .open, reads: nil)
}

/// Everything that follows from one input. Journal first, then the gate and the work, then report.
public struct NodeReady: Hashable, Sendable {
    public var journal: [NodeJournalRecord] = []
    public var gate: GateTarget?
    public var service: Service?
    /// A pass to make, at once.
    public var pass: PassGoal?
    /// A release whose last requests are to be watched until they have ended, or it is asked for no more
    /// (``NodeEngine/vacancyGoal``).
    public var vacancy: ReleaseReference?
    public var works: [NodeWork] = []
    /// The first of them.
    public var work: NodeWork? { works.first }
    /// Send a marked write through the proxy, and again until it says something good or another is asked for.
    public var proof: ProofGoal?
    /// End the current work as soon as possible: it is not asked for any more.
    public var cancelsWork = false
    /// The same of a migration tool: beside it other work may be under way.
    public var cancelsTool = false
    /// Send a status now.
    public var report = false
    /// Those that have begun, for the log, loudly; ``NodeEngine/alarms`` has all that hold.
    public var alarms: [NodeAlarm] = []
    public var endedAlarms: [NodeAlarm] = []
    /// When `time` should be put in next, at the latest.
    public var wakeAt: Instant?

    public init() {}
}
