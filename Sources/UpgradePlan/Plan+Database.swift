// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The name of an environment variable of the coordinator that holds a secret: `env:DATABASE_URL`.
///
/// A plan is stored, shown and signed, so it names a secret and never holds one.
public struct EnvironmentReference: Hashable, Sendable, CustomStringConvertible {
    /// The variable's name: `A-Z a-z 0-9 _`, not beginning with a digit, at most 128 characters.
    public let name: String

    /// - Returns: `nil` unless the text is the name of an environment variable.
    public init?(name: String) {
        let bytes = name.utf8
        guard (1...128).contains(bytes.count), let first = bytes.first,
            !(48...57).contains(first),
            bytes.allSatisfy({ byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || byte == 95
            })
        else { return nil }
        self.name = name
    }

    /// Reads `env:NAME`.
    ///
    /// - Returns: `nil` for anything else.
    public init?(text: String) {
        guard text.hasPrefix("env:") else { return nil }
        self.init(name: String(text.dropFirst(4)))
    }

    /// `env:NAME`
    public var description: String { "env:\(name)" }
}

extension Plan {
    /// A database that is fenced for the write window and migrated in it.
    public struct Database: Hashable, Sendable {
        public let name: DatabaseName
        /// Where the URL of a direct connection (never a pooler's) is found.
        public let url: EnvironmentReference
        /// The directory of the migrations, relative to the plan's own; `nil` where only a tool migrates.
        public let migrations: String?
        /// The application's own tool, which runs after ``migrations``.
        public let tool: Tool?
        /// How long one attempt of a statement may wait for a lock before it is tried again.
        public let lockTimeout: Span
        /// How long one statement of a migration may run; `nil` leaves it to the phase's deadline.
        public let statementTimeout: Span?
        /// The role that migrations run as and that owns what they create; `nil`: the database's own rule.
        public let owner: String?
        /// The schemas in which migrations find unqualified names, in this order; `nil`: those of `owner`'s own sessions.
        public let searchPath: [String]?
        /// Superusers whose sessions belong to people or to monitoring, sorted: preflight refuses those of all others.
        public let trusted: [String]
        /// Roles whose transactions only read, by the plan's word, sorted: a backup's, which may write and does not.
        public let readers: [String]
        public let tls: TransportRule
        /// How much the fence has to hold.
        public let fence: FenceLevel
        /// What a fence of level `owner` need not hold, in the order of ``FenceGap``.
        public let accepted: [FenceGap]
        /// Its physical standby, which is frozen for the write window where the plan reads from it.
        public let standby: Standby?
        /// How its site is closed on the nodes where the run goes on without it, and opened again by the run that migrates it.
        public let leaveOut: LeaveOut?

        /// The actions that close the site of a database and open it, each of which is told the database's name.
        public struct LeaveOut: Hashable, Sendable {
            public let close: ActionName
            public let open: ActionName

            public init(close: ActionName, open: ActionName) {
                precondition(close != open, "what closes a site does not open it")
                self.close = close
                self.open = open
            }
        }

        /// Whether the connection to a database on another machine may be in clear.
        public enum TransportRule: String, Hashable, Sendable, CaseIterable {
            case required
            /// The network between coordinator and database is trusted.
            case optional
        }

        public init(
            name: DatabaseName = .default, url: EnvironmentReference, migrations: String?,
            lockTimeout: Span = .milliseconds(200),
            statementTimeout: Span? = nil, owner: String? = nil, searchPath: [String]? = nil,
            trusted: [String] = [], readers: [String] = [], tls: TransportRule = .required,
            tool: Tool? = nil, fence: FenceLevel = .complete, accepted: Set<FenceGap> = [],
            standby: Standby? = nil, leaveOut: LeaveOut? = nil
        ) {
            precondition(migrations?.isEmpty != true, "migrations need a path")
            precondition(migrations != nil || tool != nil, "nothing migrates")
            precondition(Limits.lockTimeout.contains(lockTimeout), "lockTimeout out of range")
            if let statementTimeout {
                precondition(
                    Limits.deadline.contains(statementTimeout), "statementTimeout out of range")
            }
            self.name = name
            self.url = url
            self.migrations = migrations
            self.tool = tool
            self.lockTimeout = lockTimeout
            self.statementTimeout = statementTimeout
            self.owner = owner
            self.searchPath = searchPath
            self.trusted = Set(trusted).sorted()
            self.readers = Set(readers).sorted()
            self.tls = tls
            self.fence = fence
            self.accepted = FenceGap.allCases.filter(accepted.contains)
            self.standby = standby
            self.leaveOut = leaveOut
        }
    }
}

extension Plan {
    /// The one under `database`.
    public var database: Database? { databases.first { $0.name == .default } }

    /// The standby that is frozen for the write window and read from meanwhile; `nil` where the plan reads from no standby.
    public var frozenStandby: Database.Standby? {
        reads == .standby ? databases.first?.standby : nil
    }

    /// The databases that a tool of the application migrates, in their order.
    public var toolDatabases: [Database] { databases.filter { $0.tool != nil } }
    public var hasTool: Bool { databases.contains { $0.tool != nil } }

    /// How what is stored and said names a database: not at all where the plan has one.
    public func label(of database: Database?) -> DatabaseName? {
        databases.count > 1 ? database?.name : nil
    }

    /// The database that a label means.
    public func database(labeled label: DatabaseName?) -> Database? {
        label.map { label in databases.first { $0.name == label } } ?? databases.first
    }
}
