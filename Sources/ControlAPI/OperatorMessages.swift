// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// A run to start: all that it needs, by value or by digest. Blobs are uploaded first.
public struct StartRun: Hashable, Codable, Sendable {
    /// Made by the operator's side; the same identifier twice starts one run.
    public var request: String
    /// The plan as written. The coordinator validates it again.
    public var plan: String
    /// The plan's file name, for messages.
    public var planFile: String
    /// The manifest of the release's bundle, as a blob; every file it names is a blob too.
    public var manifest: Digest
    /// The migration files, by name, in order.
    public var migrations: [MigrationFile]

    public init(
        request: String, plan: String, planFile: String, manifest: Digest,
        migrations: [MigrationFile]
    ) {
        self.request = request
        self.plan = plan
        self.planFile = planFile
        self.manifest = manifest
        self.migrations = migrations
    }
}

/// What is asked about a plan before any run: what its database would say in preflight.
public struct DatabaseQuestion: Hashable, Codable, Sendable {
    /// The plan as written.
    public var plan: String
    /// The plan's file name, for messages.
    public var planFile: String
    /// The migration files, by name, in order.
    public var migrations: [MigrationFile]

    public init(plan: String, planFile: String, migrations: [MigrationFile]) {
        self.plan = plan
        self.planFile = planFile
        self.migrations = migrations
    }
}

/// What preflight would find in a database now. An error means that a run would be refused.
public struct DatabaseFindings: Hashable, Codable, Sendable {
    public var findings: [Diagnostic]

    public init(_ findings: [Diagnostic]) {
        self.findings = findings
    }
}

/// One migration file by value.
public struct MigrationFile: Hashable, Codable, Sendable {
    public var name: String
    public var text: String
    /// The label of its database; `nil` where the plan has one.
    public var database: DatabaseName?

    public init(name: String, text: String, database: DatabaseName? = nil) {
        self.name = name
        self.text = text
        self.database = database
    }
}

/// What an operator asks of a run.
public struct RunRequest: Hashable, Codable, Sendable {
    /// Made by the operator's side; the same identifier twice is one request.
    public var request: String
    public var verb: RequestVerb
    /// For the journal: why.
    public var reason: String?
    /// With `retry`: down files that count instead of those that do not work.
    public var down: [MigrationFile]?
    /// With `retry`: a run that goes back is to go forward again.
    public var forward: Bool?
    /// With `resolve`: what was done or undone by hand.
    public var claims: [MigrationClaim]?
    /// With `resolve`: a node that is off.
    public var off: NodeName?
    /// With `resolve`: the schema stays as it is, although it is not as it was before.
    public var acceptSchema: Bool?
    /// With `retry` and `resolve`: the database that is meant; it has to be the one that the run waits for.
    public var database: DatabaseName?

    public init(
        request: String, verb: RequestVerb, reason: String? = nil, down: [MigrationFile]? = nil,
        forward: Bool? = nil, claims: [MigrationClaim]? = nil, off: NodeName? = nil
    ) {
        self.request = request
        self.verb = verb
        self.reason = reason
        self.down = down
        self.forward = forward
        self.claims = claims
        self.off = off
    }
}

/// A row of the list of runs.
public struct RunSummary: Hashable, Codable, Sendable {
    public var run: RunIdentifier
    public var fleet: FleetName
    public var release: ReleaseName
    public var createdAt: Instant
    public var state: RunState
    public var phase: Phase
    public var startedBy: OperatorName
    /// When it ended; `nil` while it goes on.
    public var endedAt: Instant?

    public init(
        run: RunIdentifier, fleet: FleetName, release: ReleaseName, createdAt: Instant,
        state: RunState, phase: Phase, startedBy: OperatorName, endedAt: Instant? = nil
    ) {
        self.run = run
        self.fleet = fleet
        self.release = release
        self.createdAt = createdAt
        self.state = state
        self.phase = phase
        self.startedBy = startedBy
        self.endedAt = endedAt
    }
}

/// A run as an operator watches it.
public struct RunView: Hashable, Codable, Sendable {
    public var summary: RunSummary
    /// The number of stored events.
    public var version: Int64
    public var now: Instant
    /// The current step, for people: `close the gates`.
    public var step: String
    /// Why the run turned back, waits or paused.
    public var reason: String?
    /// What to do next, when a person has to.
    public var advice: String?
    /// The current batch and how many there are; 0 before the rollout.
    public var batch: Int
    public var batches: Int
    /// When the write window began and ended.
    public var windowOpened: Instant?
    public var windowClosed: Instant?
    /// What the database does now, for people.
    public var database: String?
    /// Whom a migration or the migration tool waits for in the database, a line each, for people; `nil` where nobody waits.
    public var waits: [String]?
    /// What hooks have done and nothing has undone yet, for people. `nil` from an older coordinator.
    public var stillPaused: [String]?
    /// Who may be of the old release and was connected to a database after the lift, for people.
    public var lateSessions: [String]?
    /// Which tables the fence has refused, and how often, once it has gone down, for people.
    public var refusedTables: [String]?
    /// The databases whose fence stays up, with their sites closed, and why; `nil` for none, and from an older coordinator.
    public var leftOut: [String]?
    /// All of them, or some with `totals` beside them.
    public var nodes: [NodeRow]
    /// Of all nodes together; `nil` when `nodes` has all.
    public var totals: FleetTotals?

    public init(
        summary: RunSummary, version: Int64, now: Instant, step: String, reason: String?,
        advice: String?,
        batch: Int, batches: Int, windowOpened: Instant?, windowClosed: Instant?, database: String?,
        stillPaused: [String]? = nil, lateSessions: [String]? = nil, refusedTables: [String]? = nil,
        leftOut: [String]? = nil, nodes: [NodeRow], totals: FleetTotals? = nil
    ) {
        self.summary = summary
        self.version = version
        self.now = now
        self.step = step
        self.reason = reason
        self.advice = advice
        self.batch = batch
        self.batches = batches
        self.windowOpened = windowOpened
        self.windowClosed = windowClosed
        self.database = database
        self.stillPaused = stillPaused
        self.lateSessions = lateSessions
        self.refusedTables = refusedTables
        self.leftOut = leftOut
        self.nodes = nodes
        self.totals = totals
    }
}

/// One node of a run in a table.
public struct NodeRow: Hashable, Codable, Sendable {
    public enum Membership: String, Codable, Sendable {
        /// Taking part.
        case member
        /// Kept out of service, see `reason`.
        case quarantined
    }

    public var name: NodeName
    public var standing: Membership
    /// Whether the current step is reached on this node; `nil` when the step does not name it.
    public var reached: Bool?
    /// Its batch in the rollout, counted from 1; `nil` for a node that joined during the run.
    public var batch: Int?
    public var reason: String?
    /// Milliseconds since the last status; `nil` when there was none under this coordinator.
    public var lastSeen: Span?
    public var status: NodeStatus?
    /// What the coordinator has noticed about it that a person should know.
    public var warning: String?

    public init(
        name: NodeName, standing: Membership, reached: Bool?, batch: Int?, reason: String?,
        lastSeen: Span?,
        status: NodeStatus?, warning: String? = nil
    ) {
        self.warning = warning
        self.name = name
        self.standing = standing
        self.reached = reached
        self.batch = batch
        self.reason = reason
        self.lastSeen = lastSeen
        self.status = status
    }
}

/// A node as the inventory has it.
public struct NodeView: Hashable, Codable, Sendable {
    public var name: NodeName
    public var labels: [String: String]
    public var run: RunIdentifier?
    public var lastSeen: Span?
    public var status: NodeStatus?
    /// What the coordinator has noticed about it that a person should know.
    public var warning: String?

    public init(
        name: NodeName, labels: [String: String], run: RunIdentifier?, lastSeen: Span?,
        status: NodeStatus?, warning: String? = nil
    ) {
        self.warning = warning
        self.name = name
        self.labels = labels
        self.run = run
        self.lastSeen = lastSeen
        self.status = status
    }
}

/// The answer of `/healthz`.
public struct Health: Hashable, Codable, Sendable {
    /// Whether this coordinator leads and its store takes events.
    public var ok: Bool
    public var epoch: Epoch
    /// Why it is not ok; or, while it is, what a person should look at.
    public var reason: String?

    public init(ok: Bool, epoch: Epoch, reason: String? = nil) {
        self.ok = ok
        self.epoch = epoch
        self.reason = reason
    }
}
