// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What an operator wants: which fleet goes to which release, and how.
///
/// A plan cannot be wrong: `PlanDocument` makes one only from a document without errors, and every
/// initialiser here treats a value outside its range as a fault of the caller. What is stored and
/// signed is the text; a `Plan` is always parsed from it again. Every key is described in
/// `plans/reference.yaml`.
public struct Plan: Hashable, Sendable {
    /// The fleet that a run of this plan holds; no other run may touch it meanwhile.
    public let fleet: FleetName
    /// Which nodes of the fleet are upgraded.
    public let selection: NodeSelection
    public let release: Release
    /// The databases that are fenced and migrated, in the order in which they are; none when the release changes files only. The one
    /// under `database` is the first and called `default`.
    public let databases: [Database]
    public let writes: Writes
    public let reads: Reads
    /// What becomes of the reads of the old release when the frozen standby that serves them does not answer: they are held, or the
    /// old release serves them from the primary, with the schema as it is there.
    public let readsWithoutStandby: Reads
    /// How those who have a session are known, and what becomes of their reads while the database is fenced; `nil`: they are reads
    /// like others.
    public let sessions: Sessions?
    /// How long reads wait, at most, while a node's own action switches to the standby and from there to the new release: the application
    /// runs once. `nil`: no action does.
    public let switchHold: Sessions.Hold?
    public let drain: Drain
    public let rollout: Rollout
    /// The phases that wait for an operator's approval before they begin, in the order of a run.
    public let approvals: [Phase]
    /// Actions beside the phases, in the order of the document.
    public let hooks: [Hook]
    public let deadlines: Deadlines
    public let onFailure: OnFailure
    /// How long a node keeps its gate closed without contact before the fence is to go up.
    public let lease: Span
    /// How many releases stay on a node's disk after `finish` besides the active one.
    public let keepReleases: Int
    /// How many of the databases apply their migration files at the same time.
    public let migrationsAtOnce: Int
    /// How many of the databases may be left out because their migration has failed, while the others go to the new release.
    public let failedDatabasesAtMost: Int

    public init(
        fleet: FleetName,
        selection: NodeSelection,
        release: Release,
        databases: [Database] = [],
        writes: Writes = Writes(),
        reads: Reads = .serve,
        readsWithoutStandby: Reads = .hold(for: .seconds(10), atMost: 1000),
        sessions: Sessions? = nil,
        switchHold: Sessions.Hold? = nil,
        drain: Drain = Drain(),
        rollout: Rollout,
        approvals: [Phase] = [],
        hooks: [Hook] = [],
        deadlines: Deadlines = Deadlines(),
        onFailure: OnFailure = .rollback,
        lease: Span = .seconds(30),
        keepReleases: Int = 3,
        migrationsAtOnce: Int = 1,
        failedDatabasesAtMost: Int = 0
    ) {
        precondition(
            !approvals.contains(.preflight), "nothing is approved before preflight")
        precondition(
            readsWithoutStandby != .standby, "a standby that is lost is not read")
        precondition(
            Set(databases.map(\.name)).count == databases.count, "a database is named twice")
        precondition(Limits.lease.contains(lease), "lease out of range")
        precondition(Limits.keepReleases.contains(keepReleases), "keepReleases out of range")
        precondition(
            Limits.migrationsAtOnce.contains(migrationsAtOnce), "migrationsAtOnce out of range")
        precondition(
            failedDatabasesAtMost == 0
                || (1..<databases.count).contains(failedDatabasesAtMost)
                    && databases.allSatisfy { $0.leaveOut != nil },
            "not every database can be left out, or all of them")
        self.fleet = fleet
        self.selection = selection.normalized()
        self.release = release
        self.databases = databases
        self.writes = writes
        self.reads = reads
        self.readsWithoutStandby = readsWithoutStandby
        self.sessions = sessions
        self.switchHold = switchHold
        self.drain = drain
        self.rollout = rollout
        self.approvals = Set(approvals).sorted()
        self.hooks = hooks
        self.deadlines = deadlines
        self.onFailure = onFailure
        self.lease = lease
        self.keepReleases = keepReleases
        self.migrationsAtOnce = migrationsAtOnce
        self.failedDatabasesAtMost = failedDatabasesAtMost
    }
}

extension Plan {
    /// Whether the new release starts on the new schema; without a database there is none to wait for.
    public var startsAfterMigration: Bool {
        !databases.isEmpty && rollout.start == .afterMigration
    }

    /// The release to bring in, and the one it replaces.
    public struct Release: Hashable, Sendable {
        /// The name of the new release; must equal the name in the bundle's manifest.
        public let name: ReleaseName
        /// The release that each node must be on before the run; `nil` lets each be on its own.
        public let expected: ReleaseName?
        public let source: Source

        /// Where the release comes from.
        public enum Source: Hashable, Sendable {
            /// A directory, relative to the plan's own. `assets` is the directory in it of files whose names change with their
            /// content; `nil` looks in the usual places.
            case bundle(String, assets: String?)
            /// What the nodes' own actions fetch, switch to and report, as they name it: a digest of an image, a version of a package.
            case version(String)
        }

        /// `nil` for a version.
        public var bundle: String? {
            if case .bundle(let path, _) = source { path } else { nil }
        }
        public var assets: String? {
            if case .bundle(_, let assets) = source { assets } else { nil }
        }
        /// `nil` for a bundle.
        public var version: String? {
            if case .version(let version) = source { version } else { nil }
        }

        public init(
            name: ReleaseName, expected: ReleaseName? = nil, bundle: String, assets: String? = nil
        ) {
            precondition(name != expected, "a release cannot replace itself")
            precondition(!bundle.isEmpty, "a bundle needs a path")
            self.name = name
            self.expected = expected
            source = .bundle(bundle, assets: assets)
        }

        public init(name: ReleaseName, expected: ReleaseName? = nil, version: String) {
            precondition(name != expected, "a release cannot replace itself")
            precondition(!version.isEmpty, "a version needs a name")
            self.name = name
            self.expected = expected
            source = .version(version)
        }
    }

    /// What a failure before the point of no return leads to.
    public enum OnFailure: String, Hashable, Sendable, CaseIterable {
        /// Undo what was done, in reverse order.
        case rollback
        /// Stay as it is and wait for an operator. In the write window, writes stay closed.
        case pause
    }
}
