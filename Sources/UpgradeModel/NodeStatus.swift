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
