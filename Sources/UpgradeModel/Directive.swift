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
    /// A release whose processes may write no more: frozen while this directive closes the gate, ended once it opens it.
    ///
    /// `nil`: what was frozen before goes on when it is the release that is served, or when the same run still has the gate closed,
    /// which is its way back. In all other cases it is ended: it would go on where it stopped, on a schema that is not its own.
    public var silenced: ReleaseReference?
    /// The release that ``active`` takes the place of, where nothing needs it once that is served: as soon as the node has flipped, has
    /// done its actions and is healthy, it is frozen as if ``silenced`` named it, and not before. `nil`: it goes on until that does.
    public var replaced: ReleaseReference?
    /// The reads of those who have a session wait, since many applications write on them and the database is fenced. `nil`: they
    /// are reads like others.
    public var sessions: HoldLimits?
    /// How many of those who have waited are let go in a second when the gate opens, at most; `nil`: as many as the application
    /// takes.
    public var pace: Int?
    /// A pass to make, and to say the digest of.
    public var pass: PassGoal?
    /// When the gates are to close, by the coordinator's clock, for the pages that people have open. `nil`: nothing is announced.
    public var announced: Instant?
    /// A release that is not served any more, and whose last requests are to be seen to end before the run goes on: the node says in
    /// ``NodeStatus/vacated`` how many there are. Nothing is done to it. `nil`: nothing is looked at.
    public var vacated: ReleaseReference?

    public init(
        epoch: Epoch, revision: Int64, run: RunIdentifier? = nil, writes: WriteAdmission = .open,
        reads: ReadAdmission = .pass, lease: Lease = Lease(), stage: ReleaseReference? = nil,
        unstage: ReleaseReference? = nil, active: ActivationGoal? = nil, service: Service = .in,
        tasks: [NodeTask] = [], health: HealthGoal? = nil, keepReleases: Int? = nil,
        silenced: ReleaseReference? = nil, replaced: ReleaseReference? = nil,
        sessions: HoldLimits? = nil,
        pace: Int? = nil, pass: PassGoal? = nil, announced: Instant? = nil,
        vacated: ReleaseReference? = nil
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
        self.silenced = silenced
        self.replaced = replaced
        self.sessions = sessions
        self.pace = pace
        self.pass = pass
        self.announced = announced
        self.vacated = vacated
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
