// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A fact of a node that survives its agent. Journaled before the effect that it announces.
public enum NodeJournalRecord: Hashable, Sendable {
    /// The directive that counts from now on; never one of a lower epoch or revision.
    case accepted(Directive)
    /// About to flip to a release under a new cache generation.
    case activationPlanned(ActivationPlan)
    case taskStarted(TaskIdentity)
    case taskEnded(TaskOutcome)
    /// About to freeze or end the processes of a release.
    case silenceBegan(SilenceMemory)
    /// They go on, or are gone for good.
    case silenceOver
    /// A person opened the gate against the coordinator's word.
    case glassBroken(reason: String, at: Instant)
    case breakGlassEnded(at: Instant)
    /// A start with a closed gate and without a word of the coordinator: the lease goes on from here.
    case leaseResumed(at: Instant)
    /// The lease ran out before the migration: the gate opens by itself, and stays so through restarts.
    case leaseExpired(at: Instant)
    /// The coordinator has been heard again, with nothing new to say.
    case leaseRenewed(at: Instant)
}

/// One flip: which identity got which generation and release.
public struct ActivationPlan: Hashable, Codable, Sendable {
    public var identity: ActivationIdentity
    public var release: ReleaseReference
    public var generation: CacheGeneration

    public init(
        identity: ActivationIdentity, release: ReleaseReference, generation: CacheGeneration
    ) {
        self.identity = identity
        self.release = release
        self.generation = generation
    }
}

/// What agents that have not heard the coordinator have left of the lease.
public enum LeaseMemory: Hashable, Sendable {
    /// It goes on from the start of the first of them. Becomes `expired`, or is forgotten when the coordinator is heard.
    case resumed(at: Instant)
    /// The gate has opened by itself. Forgotten when the coordinator is heard.
    case expired(at: Instant)
}

/// What a node remembers: the fold of its records.
public struct NodeMemory: Hashable, Sendable {
    public private(set) var directive: Directive?
    public private(set) var activation: ActivationPlan?
    /// Tasks of the directives so far; only those of the latest directive are kept.
    public private(set) var tasks: [TaskIdentity: TaskOutcome] = [:]
    public private(set) var brokenGlass: String?
    /// The release whose processes may be frozen.
    public private(set) var silence: SilenceMemory?
    /// `nil` from the coordinator's word on, until an agent starts without it.
    public private(set) var lease: LeaseMemory?

    public init() {}

    public mutating func apply(_ record: NodeJournalRecord) {
        switch record {
        case .accepted(let directive):
            // An agent of an earlier version may have written down what it should have refused.
            guard directive.limitProblem == nil else { return }
            self.directive = directive
            lease = nil
            let wanted = Set(directive.tasks.map(\.identity))
            tasks = tasks.filter { wanted.contains($0.key) }
        case .activationPlanned(let plan): activation = plan
        case .taskStarted(let identity):
            tasks[identity] = TaskOutcome(identity: identity, state: .running)
        case .taskEnded(let outcome): tasks[outcome.identity] = outcome
        case .silenceBegan(let silence): self.silence = silence
        case .silenceOver: silence = nil
        case .glassBroken(let reason, _): brokenGlass = reason
        case .breakGlassEnded: brokenGlass = nil
        case .leaseResumed(let at): lease = .resumed(at: at)
        case .leaseExpired(let at): lease = .expired(at: at)
        case .leaseRenewed: lease = nil
        }
    }

    /// The records that fold to this memory: what a compacted journal begins with.
    public func records(at now: Instant) -> [NodeJournalRecord] {
        var records: [NodeJournalRecord] = []
        if let directive { records.append(.accepted(directive)) }
        switch lease {
        case .resumed(let at): records.append(.leaseResumed(at: at))
        case .expired(let at): records.append(.leaseExpired(at: at))
        case nil: break
        }
        if let activation { records.append(.activationPlanned(activation)) }
        for outcome in tasks.values.sorted(by: { $0.identity < $1.identity }) {
            records.append(
                outcome.state == .running ? .taskStarted(outcome.identity) : .taskEnded(outcome))
        }
        if let silence { records.append(.silenceBegan(silence)) }
        if let brokenGlass { records.append(.glassBroken(reason: brokenGlass, at: now)) }
        return records
    }
}

extension NodeJournalRecord: Codable {
    private enum Keys: String, CodingKey {
        case type, version, directive, plan, task, outcome, silence, reason, at
    }

    private static let currentVersion = 1

    public var type: String {
        switch self {
        case .accepted: "accepted"
        case .activationPlanned: "activation-planned"
        case .taskStarted: "task-started"
        case .taskEnded: "task-ended"
        case .silenceBegan: "silence-began"
        case .silenceOver: "silence-over"
        case .glassBroken: "glass-broken"
        case .breakGlassEnded: "glass-mended"
        case .leaseResumed: "lease-resumed"
        case .leaseExpired: "lease-expired"
        case .leaseRenewed: "lease-renewed"
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(type, forKey: .type)
        try container.encode(NodeJournalRecord.currentVersion, forKey: .version)
        switch self {
        case .accepted(let directive): try container.encode(directive, forKey: .directive)
        case .activationPlanned(let plan): try container.encode(plan, forKey: .plan)
        case .taskStarted(let identity): try container.encode(identity, forKey: .task)
        case .taskEnded(let outcome): try container.encode(outcome, forKey: .outcome)
        case .silenceBegan(let silence): try container.encode(silence, forKey: .silence)
        case .silenceOver: break
        case .glassBroken(let reason, let at):
            try container.encode(reason, forKey: .reason)
            try container.encode(at, forKey: .at)
        case .breakGlassEnded(let at), .leaseResumed(let at), .leaseExpired(let at),
            .leaseRenewed(let at):
            try container.encode(at, forKey: .at)
        }
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        let type = try container.decode(String.self, forKey: .type)
        let version = try container.decode(Int.self, forKey: .version)
        guard version == NodeJournalRecord.currentVersion else {
            throw DecodingError.dataCorruptedError(
                forKey: .version, in: container,
                debugDescription: "record \(type) has version \(version), this program knows 1")
        }
        switch type {
        case "accepted": self = .accepted(try container.decode(Directive.self, forKey: .directive))
        case "activation-planned":
            self = .activationPlanned(try container.decode(ActivationPlan.self, forKey: .plan))
        case "task-started":
            self = .taskStarted(try container.decode(TaskIdentity.self, forKey: .task))
        case "task-ended":
            self = .taskEnded(try container.decode(TaskOutcome.self, forKey: .outcome))
        case "silence-began":
            self = .silenceBegan(try container.decode(SilenceMemory.self, forKey: .silence))
        case "silence-over": self = .silenceOver
        case "glass-broken":
            self = .glassBroken(
                reason: try container.decode(String.self, forKey: .reason),
                at: try container.decode(Instant.self, forKey: .at))
        case "glass-mended":
            self = .breakGlassEnded(at: try container.decode(Instant.self, forKey: .at))
        case "lease-resumed":
            self = .leaseResumed(at: try container.decode(Instant.self, forKey: .at))
        case "lease-expired":
            self = .leaseExpired(at: try container.decode(Instant.self, forKey: .at))
        case "lease-renewed":
            self = .leaseRenewed(at: try container.decode(Instant.self, forKey: .at))
        default:
            throw DecodingError.dataCorruptedError(
                forKey: .type, in: container, debugDescription: "no such record: \(type)")
        }
    }
}
