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
    /// When this agent started, on its steady clock, which never goes back on one node: it orders boots. `nil`: an older agent.
    public var startedAt: Instant?
    /// What has become of the release that may write no more; an agent that can silence a release always says so, also when
    /// nothing is asked. `nil`: an older agent, which cannot.
    public var silenced: Silence?
    /// The raw values of ``AgentAbility``, and words of later versions; `nil`: an older agent, which has none of them.
    public var abilities: [String]?
    /// What the directive asks under `pass`. `nil` although it is asked: an older agent, which makes none.
    public var pass: PassOffer?
    /// What has become of the requests that the directive asks for under `vacated`. `nil`: nothing is asked, or an older agent, which
    /// does not look.
    public var vacated: Vacancy?
    /// The node's own addresses in digits, as a server sees it that the node connects to. `nil`: an older agent, or none known.
    public var addresses: [String]?

    public init(
        epoch: Epoch, revision: Int64, boot: String, sequence: Int64, agentVersion: String,
        gate: GateObservation, lease: Lease.Expiry, staged: [ReleaseReference],
        staging: StagingProgress?,
        active: ActiveRelease?, service: Service, tasks: [TaskOutcome], health: HealthObservation?,
        failures: [NodeFailure], diskFree: Int64, breakGlass: String? = nil,
        startedAt: Instant? = nil, silenced: Silence? = nil, abilities: [String]? = nil,
        pass: PassOffer? = nil, vacated: Vacancy? = nil, addresses: [String]? = nil
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
        self.startedAt = startedAt
        self.silenced = silenced
        self.abilities = abilities
        self.pass = pass
        self.vacated = vacated
        self.addresses = addresses
    }
}

extension NodeStatus {
    public func has(_ ability: AgentAbility) -> Bool {
        abilities?.contains(ability.rawValue) == true
    }

    /// Whether it was made after another one of the same node: by a later agent, or later by the same.
    ///
    /// Where an agent does not say when it started, the order of two agents is not known, and what comes last counts.
    public func isLater(than other: NodeStatus) -> Bool {
        if boot == other.boot { return sequence > other.sequence }
        guard let startedAt, let before = other.startedAt else { return true }
        return startedAt >= before
    }
}
