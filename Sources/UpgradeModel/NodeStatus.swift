// SPDX-License-Identifier: Apache-2.0

/// What a node says it is. Input from a stranger: typed, bounded, tied to the identity of whoever sent it.
public struct NodeStatus: Hashable, Codable, Sendable {
    /// The directive that this status was observed under.
    public var epoch: Epoch
    public var revision: Int64
    /// Made anew at each start of the agent, so that an old process's late message is known as such.
    public var boot: String
    /// Rises with each status of one boot.
    public var sequence: Int64
    public var agentVersion: String
    public var gate: GateObservation
    public var lease: Lease.Expiry
    /// Every release that is on disk, complete and verified.
    public var staged: [ReleaseReference]
    public var staging: StagingProgress?
    public var active: ActiveRelease?
    public var service: Service
    /// Outcomes of the directive's tasks, and of nothing else.
    public var tasks: [TaskOutcome]
    public var health: HealthObservation?
    /// What could not be reached, and why; empty when all is as asked or still under way.
    public var failures: [NodeFailure]
    /// Bytes free where releases are kept.
    public var diskFree: Int64
    /// Set when a person opened the gate on the node against the coordinator's word.
    public var breakGlass: String?

    public init(
        epoch: Epoch, revision: Int64, boot: String, sequence: Int64, agentVersion: String,
        gate: GateObservation, lease: Lease.Expiry, staged: [ReleaseReference],
        staging: StagingProgress?,
        active: ActiveRelease?, service: Service, tasks: [TaskOutcome], health: HealthObservation?,
        failures: [NodeFailure], diskFree: Int64, breakGlass: String? = nil
    ) {
        self.epoch = epoch
        self.revision = revision
        self.boot = boot
        self.sequence = sequence
        self.agentVersion = agentVersion
        self.gate = gate
        self.lease = lease
        self.staged = staged
        self.staging = staging
        self.active = active
        self.service = service
        self.tasks = tasks
        self.health = health
        self.failures = failures
        self.diskFree = diskFree
        self.breakGlass = breakGlass
    }
}

/// What the gate does and has in hand.
public struct GateObservation: Hashable, Codable, Sendable {
    public var writes: WriteAdmission.Kind
    public var readsHeld: Bool
    /// While reads are held: whether those admitted before have left the application, or the wait for them is over.
    public var readsSettled: Bool
    /// Write requests admitted and not known to be completed.
    public var writesInFlight: Int
    /// Write requests waiting at the gate now.
    public var writesWaiting: Int
    /// Read requests waiting at the gate now.
    public var readsWaiting: Int
    /// Since the gate last closed: writes answered 503.
    public var writesRefused: Int
    /// Since the gate last closed: reads answered 503 because they waited too long.
    public var readsRefused: Int
    /// Since the gate last closed: writes that waited and went through.
    public var writesReleased: Int
    /// The longest that a released write has waited since the gate last closed.
    public var longestWait: Span
    /// When the gate last closed and last opened, on the node's steady clock.
    public var closedAt: Instant?
    public var openedAt: Instant?

    public init(
        writes: WriteAdmission.Kind = .open, readsHeld: Bool = false, readsSettled: Bool = false,
        writesInFlight: Int = 0,
        writesWaiting: Int = 0, readsWaiting: Int = 0, writesRefused: Int = 0,
        readsRefused: Int = 0,
        writesReleased: Int = 0, longestWait: Span = .zero, closedAt: Instant? = nil,
        openedAt: Instant? = nil
    ) {
        self.writes = writes
        self.readsHeld = readsHeld
        self.readsSettled = readsSettled
        self.writesInFlight = writesInFlight
        self.writesWaiting = writesWaiting
        self.readsWaiting = readsWaiting
        self.writesRefused = writesRefused
        self.readsRefused = readsRefused
        self.writesReleased = writesReleased
        self.longestWait = longestWait
        self.closedAt = closedAt
        self.openedAt = openedAt
    }
}

/// How far the fetching of a release has come.
public struct StagingProgress: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    public var bytesDone: Int64
    public var bytesTotal: Int64

    public init(release: ReleaseReference, bytesDone: Int64, bytesTotal: Int64) {
        self.release = release
        self.bytesDone = bytesDone
        self.bytesTotal = bytesTotal
    }
}

/// The release that a node serves.
public struct ActiveRelease: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    /// `nil` for a release that was there before Sluice came.
    public var identity: ActivationIdentity?
    public var cacheGeneration: CacheGeneration

    public init(
        release: ReleaseReference, identity: ActivationIdentity?, cacheGeneration: CacheGeneration
    ) {
        self.release = release
        self.identity = identity
        self.cacheGeneration = cacheGeneration
    }
}

/// How a task ended, or that it has not.
public struct TaskOutcome: Hashable, Codable, Sendable {
    public enum State: String, Codable, Sendable {
        case running
        case done
        case failed
        /// Refused before it began, for example a name that the node does not allow.
        case notStarted
        /// Begun, and the agent died before it saw the end; it is not begun again.
        case unknown
    }

    public var identity: TaskIdentity
    public var state: State
    /// The last words of its output, or why it failed. At most `outputLimit` bytes.
    public var output: String
    public var duration: Span?

    public static let outputLimit = 4096

    public init(identity: TaskIdentity, state: State, output: String = "", duration: Span? = nil) {
        self.identity = identity
        self.state = state
        self.output = output
        self.duration = duration
    }
}

/// What a health check has said so far.
public struct HealthObservation: Hashable, Codable, Sendable {
    public enum State: String, Codable, Sendable { case checking, healthy }

    public var identity: TaskIdentity
    public var state: State
    /// The last answer, for people.
    public var detail: String

    public init(identity: TaskIdentity, state: State, detail: String) {
        self.identity = identity
        self.state = state
        self.detail = detail
    }
}

/// Something that the directive asks for and that the node could not do.
public struct NodeFailure: Hashable, Codable, Sendable {
    public enum Goal: String, Codable, Sendable {
        case gate, stage, unstage, activate, service, prune
    }

    public var goal: Goal
    /// What failed, where, and what to do next.
    public var message: String

    public init(goal: Goal, message: String) {
        self.goal = goal
        self.message = message
    }
}
