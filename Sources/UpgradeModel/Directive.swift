// SPDX-License-Identifier: Apache-2.0

/// What a node should be, now. Never a list of commands: a node compares it with what it observes and closes the difference.
///
/// Orders by `(epoch, revision)`. A node keeps the highest pair it has accepted on disk and never goes back below it.
public struct Directive: Hashable, Codable, Sendable {
    public var epoch: Epoch
    /// Rises within an epoch each time that what is asked of this node changes.
    public var revision: Int64
    public var run: RunIdentifier?
    public var writes: WriteAdmission
    public var reads: ReadAdmission
    public var lease: Lease
    /// A release to have on disk, verified, beside the active one. `nil`: nothing more than what is there.
    public var stage: ReleaseReference?
    /// A staged release to take off the disk again, after a run has turned back.
    public var unstage: ReleaseReference?
    /// The release to serve and the activation it is part of. `nil`: leave what is served.
    public var active: ActivationGoal?
    public var service: Service
    /// What to have done, in this order, each once per identity.
    public var tasks: [NodeTask]
    public var health: HealthGoal?
    /// How many releases to leave on disk besides the active one. `nil`: remove none.
    public var keepReleases: Int?

    public init(
        epoch: Epoch, revision: Int64, run: RunIdentifier? = nil, writes: WriteAdmission = .open,
        reads: ReadAdmission = .pass, lease: Lease = Lease(), stage: ReleaseReference? = nil,
        unstage: ReleaseReference? = nil, active: ActivationGoal? = nil, service: Service = .in,
        tasks: [NodeTask] = [], health: HealthGoal? = nil, keepReleases: Int? = nil
    ) {
        self.epoch = epoch
        self.revision = revision
        self.run = run
        self.writes = writes
        self.reads = reads
        self.lease = lease
        self.stage = stage
        self.unstage = unstage
        self.active = active
        self.service = service
        self.tasks = tasks
        self.health = health
        self.keepReleases = keepReleases
    }

    /// Whether both ask the same of a node, whoever says so and whenever.
    public func asksTheSame(as other: Directive) -> Bool {
        var comparable = other
        comparable.epoch = epoch
        comparable.revision = revision
        return self == comparable
    }

    /// Whether this one was made after the other.
    public func isNewer(than other: Directive) -> Bool {
        (epoch, revision) > (other.epoch, other.revision)
    }
}

/// How many requests are held, for how long, and what those beyond that are told.
public struct HoldLimits: Hashable, Codable, Sendable {
    /// The most requests held at once; one more is answered 503.
    public var atMost: Int
    /// The longest that one request is held; then it is answered 503.
    public var duration: Span
    /// The `Retry-After` of a 503, rounded up to whole seconds.
    public var retryAfter: Span

    public init(atMost: Int, duration: Span, retryAfter: Span) {
        self.atMost = atMost
        self.duration = duration
        self.retryAfter = retryAfter
    }
}

/// What the gate does with a write request.
public enum WriteAdmission: Hashable, Sendable {
    case open
    /// Held until the gate opens or a limit is reached.
    case hold(HoldLimits)
    /// Answered 503 with `Retry-After` and this message.
    case refuse(retryAfter: Span, message: String)

    public enum Kind: String, Codable, Sendable { case open, hold, refuse }

    public var kind: Kind {
        switch self {
        case .open: .open
        case .hold: .hold
        case .refuse: .refuse
        }
    }

    public var isOpen: Bool { kind == .open }
}

extension WriteAdmission: Codable {
    private enum Keys: String, CodingKey { case kind, hold, retryAfter, message }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        switch try container.decode(Kind.self, forKey: .kind) {
        case .open: self = .open
        case .hold: self = .hold(try container.decode(HoldLimits.self, forKey: .hold))
        case .refuse:
            self = .refuse(
                retryAfter: try container.decode(Span.self, forKey: .retryAfter),
                message: try container.decode(String.self, forKey: .message))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(kind, forKey: .kind)
        switch self {
        case .open: break
        case .hold(let limits): try container.encode(limits, forKey: .hold)
        case .refuse(let retryAfter, let message):
            try container.encode(retryAfter, forKey: .retryAfter)
            try container.encode(message, forKey: .message)
        }
    }
}

/// What the gate does with a read request.
public struct ReadAdmission: Hashable, Codable, Sendable {
    /// `nil`: reads pass without being asked for.
    public var hold: HoldLimits?
    /// Hold only until this activation is the node's; the node lets reads go at the flip without being told.
    public var until: ActivationIdentity?

    public init(hold: HoldLimits? = nil, until: ActivationIdentity? = nil) {
        self.hold = hold
        self.until = until
    }

    public static let pass = ReadAdmission()
}

/// How long a node stays closed without hearing from the coordinator, and what it does then.
public struct Lease: Hashable, Codable, Sendable {
    public enum Expiry: String, Codable, Sendable {
        /// Nothing behind the gate has been closed or changed: open by itself.
        case open
        /// The fence may be up, or the migration have begun: stay closed, loudly.
        case keep
    }

    public var duration: Span
    public var onExpiry: Expiry

    public init(duration: Span = .seconds(30), onExpiry: Expiry = .open) {
        self.duration = duration
        self.onExpiry = onExpiry
    }
}

/// Names one flip of one node: the same identity is the same flip, a new one is a new cache generation even of the same release.
public struct ActivationIdentity: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The release to serve. The node takes the next cache generation for an identity that it has not seen yet.
public struct ActivationGoal: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    public var identity: ActivationIdentity

    public init(release: ReleaseReference, identity: ActivationIdentity) {
        self.release = release
        self.identity = identity
    }
}

/// Whether the load balancer should send requests to the node.
public enum Service: String, Codable, Sendable {
    case `in`, out
}

/// Something to have done on a node, once per identity: a named action, or a cache flushed.
public struct NodeTask: Hashable, Codable, Sendable {
    public enum Kind: String, Codable, Sendable {
        /// A command that the node's own configuration allows under this name.
        case action
        /// A cache that the node's own configuration declares under this name.
        case flush
    }

    /// Whether it belongs before or after the flip of the same directive.
    public enum Moment: String, Codable, Sendable { case beforeActivation, afterActivation }

    public var identity: TaskIdentity
    public var kind: Kind
    /// The name of the action or of the cache.
    public var name: String
    public var moment: Moment
    /// The release it is for: its directory and socket are given to the action.
    public var release: ReleaseReference?

    public init(
        identity: TaskIdentity, kind: Kind, name: String, moment: Moment, release: ReleaseReference?
    ) {
        self.identity = identity
        self.kind = kind
        self.name = name
        self.moment = moment
        self.release = release
    }
}

/// Names one execution of one task, across restarts of everybody: `<run>.<step>.<name>.<attempt>`.
public struct TaskIdentity: RawRepresentable, Hashable, Comparable, Codable, Sendable,
    CustomStringConvertible
{
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }
    public static func < (left: TaskIdentity, right: TaskIdentity) -> Bool {
        left.rawValue < right.rawValue
    }

    public init(from decoder: any Decoder) throws {
        rawValue = try decoder.singleValueContainer().decode(String.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

/// A health check to keep asking until it has answered well so many times in a row.
public struct HealthGoal: Hashable, Codable, Sendable {
    public var identity: TaskIdentity
    /// A check that the node's own configuration declares.
    public var check: HealthCheckName
    /// The release that has to answer.
    public var release: ReleaseName
    /// Good answers in a row.
    public var consecutive: Int

    public init(
        identity: TaskIdentity, check: HealthCheckName, release: ReleaseName, consecutive: Int
    ) {
        self.identity = identity
        self.check = check
        self.release = release
        self.consecutive = consecutive
    }
}
