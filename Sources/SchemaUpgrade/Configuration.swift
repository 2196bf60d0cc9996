// SPDX-License-Identifier: Apache-2.0

public import MigrationReader
public import UpgradeModel

extension SchemaUpgrade {
    /// What a plan says about the database, and the limits.
    public struct Configuration: Sendable {
        /// What happens to transactions that are older than the fence and do not end in time.
        public enum StragglerPolicy: Sendable {
            /// Their sessions are ended, and named in the report.
            case terminate
            /// The task fails with `stragglers`, and they live.
            case turnBack
        }

        /// The migrator's address: direct, never through a pooler; a role that nobody else logs in as.
        public var address: String
        public var migrations: MigrationSet
        public var stragglers: StragglerPolicy
        /// How long the fence and the census wait for older transactions before ``stragglers`` applies.
        public var drainTimeout: Span
        /// How long one statement of a migration waits for a lock that others queue behind. Far below PostgreSQL's
        /// `deadlock_timeout` of one second, so that Sluice gives way and not a reader. Statements whose waits keep nobody out
        /// have no such bound.
        public var lockTimeout: Span
        /// How long one statement of a migration may run; `nil` leaves it to the phase.
        public var statementTimeout: Span?
        /// How long a transaction that lost such a wait is tried again, with pauses that grow.
        public var lockPatience: Span
        /// The same for the migrations of a phase; ``lockPatience`` where nothing is said.
        public var patience: [MigrationPhase: Span]
        /// How long the trial of the window's migrations may keep others waiting before it is given up.
        public var trialBudget: Span
        /// How long a lost server is waited for until it is known what took effect.
        public var reconnectTimeout: Span
        /// The role that migrations run as (`SET ROLE`), so that what they create belongs to it. When `nil`, the one role that the
        /// application's tables belong to.
        public var owner: String?
        /// The search path of migrations. When `nil`, the migrator's if it was given one, else the owner's.
        public var searchPath: String?
        /// Also set `default_transaction_read_only` for new sessions while the fence is up.
        ///
        /// Off unless asked for: a session that an application opens in the write window keeps the setting after the lift, so
        /// the writes of a connection pool would go on failing. The fence does not need it.
        public var readOnlyDefault: Bool
        /// Superusers whose sessions belong to people or to monitoring. Preflight refuses all other superusers' sessions.
        public var trustedSuperusers: Set<String>
        /// Whether the connection to a server on another machine may be in clear; otherwise preflight refuses it.
        public var mayBeInClear: Bool
        /// Whether old transactions that cannot write are neither waited for nor ended.
        public var sparesReaders: Bool
        /// Roles whose old transactions count as such by the plan's word, as long as they have written nothing.
        public var readers: Set<String>
        /// Whether sessions that are older than the window are ended before the lift; otherwise they are named.
        public var endsOldSessions: Bool
        /// How long, after the lift, it is looked who of the old release may still be connected, or comes again.
        public var sessionWatch: Span
        /// Whether the plan holds the reads of who has a session: preflight need not warn of what these write.
        public var holdsSessions: Bool
        /// The application's own migration tool, if one migrates.
        public var tool: ToolAccess?
        /// What the fence has to hold. A migrator who is a superuser always holds everything.
        public var level: FenceLevel
        /// What a fence of level `owner` need not hold; preflight refuses the rest of what it cannot.
        public var accepted: Set<FenceGap>

        /// A migration tool of the application's, which runs elsewhere.
        public struct ToolAccess: Sendable {
            /// Where it keeps what it has applied.
            public var ledger: ToolLedger
            /// The role that it logs in as. When `nil`, it may be any that is, or belongs to, the role that the application's
            /// tables belong to.
            public var role: String?
            /// When it runs besides in the window.
            public var phases: Set<MigrationPhase>
            /// Whether the old release reads while it migrates.
            public var servesReads: Bool

            public init(
                ledger: ToolLedger, role: String? = nil, phases: Set<MigrationPhase> = [],
                servesReads: Bool = true
            ) {
                self.ledger = ledger
                self.role = role
                self.phases = phases
                self.servesReads = servesReads
            }
        }

        /// What sessions of this process have found schemas to be.
        public var schemas: SchemaMemory
        /// The standby that is frozen for the window, where the plan names one.
        public var standby: StandbyAccess?

        public init(
            address: String, migrations: MigrationSet, stragglers: StragglerPolicy = .terminate,
            drainTimeout: Span = .seconds(10), lockTimeout: Span = .milliseconds(200),
            statementTimeout: Span? = nil,
            lockPatience: Span = .seconds(15), patience: [MigrationPhase: Span] = [:],
            trialBudget: Span = .milliseconds(300), reconnectTimeout: Span = .seconds(15),
            owner: String? = nil, searchPath: String? = nil,
            readOnlyDefault: Bool = false, trustedSuperusers: Set<String> = [],
            mayBeInClear: Bool = false, sparesReaders: Bool = true, readers: Set<String> = [],
            endsOldSessions: Bool = false, sessionWatch: Span = .zero, holdsSessions: Bool = false,
            tool: ToolAccess? = nil,
            level: FenceLevel = .complete, accepted: Set<FenceGap> = [],
            schemas: SchemaMemory = SchemaMemory(), standby: StandbyAccess? = nil
        ) {
            self.address = address
            self.migrations = migrations
            self.stragglers = stragglers
            self.drainTimeout = drainTimeout
            self.lockTimeout = lockTimeout
            self.statementTimeout = statementTimeout
            self.lockPatience = lockPatience
            self.patience = patience
            self.trialBudget = trialBudget
            self.reconnectTimeout = reconnectTimeout
            self.owner = owner
            self.searchPath = searchPath
            self.readOnlyDefault = readOnlyDefault
            self.trustedSuperusers = trustedSuperusers
            self.mayBeInClear = mayBeInClear
            self.sparesReaders = sparesReaders
            self.readers = readers
            self.endsOldSessions = endsOldSessions
            self.sessionWatch = sessionWatch
            self.holdsSessions = holdsSessions
            self.tool = tool
            self.level = level
            self.accepted = accepted
            self.schemas = schemas
            self.standby = standby
        }
    }
}
