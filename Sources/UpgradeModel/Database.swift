// SPDX-License-Identifier: Apache-2.0

/// What the database needs next: one task at a time, each safe to run again.
///
/// The intent to run a task is stored before it starts and its outcome after it ended. After a restart the same task is asked for
/// again under a new attempt and epoch; whoever performs it looks first at what is already so.
public struct DatabaseTask: Hashable, Codable, Sendable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        /// Look for everything that would make a later task fail. Changes nothing.
        case preflight
        /// Apply the online-safe migrations, before the write window.
        case expand
        /// Put the write block up. Stores first, in the same transaction, everything that it changes.
        case raiseFence
        /// Prove that no writer is left: end or wait for every transaction older than the fence.
        case census
        /// Apply the `switch` migrations in one transaction.
        case migrate
        /// Take the write block down and restore exactly what was stored.
        case lowerFence
        /// Apply the `contract` migrations, after the lift.
        case contract
        /// Undo the `switch` migrations of this run with their down-migrations, in one transaction.
        case revertMigrate
        /// Undo the `expand` migrations of this run with their down-migrations.
        case revertExpand
    }

    public var kind: Kind
    public var run: RunIdentifier
    /// Bumped inside the transaction that does the work; a task of a lower epoch changes nothing.
    public var epoch: Epoch
    /// Counts from 1 for each kind within a run.
    public var attempt: Int

    public init(kind: Kind, run: RunIdentifier, epoch: Epoch, attempt: Int) {
        self.kind = kind
        self.run = run
        self.epoch = epoch
        self.attempt = attempt
    }
}

/// How a database task ended.
public enum DatabaseOutcome: Hashable, Sendable {
    case done(DatabaseReport)
    case failed(DatabaseFailure)
}

/// What a finished task has to say, kept in the journal.
public struct DatabaseReport: Hashable, Codable, Sendable {
    /// What took effect, in order, for people: `applied 0002_split_name (41 ms)`.
    public var lines: [String]
    /// How long the work itself took, without waiting for a connection.
    public var duration: Span
    /// For `census`: the proof.
    public var census: CensusProof?
    /// For `preflight`: findings that do not stop the run.
    public var warnings: [Diagnostic]
    /// For `migrate` and `expand`: versions applied by this run (also those that an earlier attempt had applied).
    public var versions: [String]

    public init(
        lines: [String] = [], duration: Span = .zero, census: CensusProof? = nil,
        warnings: [Diagnostic] = [],
        versions: [String] = []
    ) {
        self.lines = lines
        self.duration = duration
        self.census = census
        self.warnings = warnings
        self.versions = versions
    }
}

/// The database's own proof that no writer is left.
public struct CensusProof: Hashable, Codable, Sendable {
    /// `pg_current_xact_id()` taken after every older transaction had ended; the snapshot's xmin then passed it.
    public var transaction: String
    /// `pg_current_wal_flush_lsn()` after the census: nothing that an application wrote lies beyond it until the lift.
    public var fenceLSN: String
    /// SHA-256 over the stored state (ACLs, owners, memberships, settings) that the lift restores.
    public var stored: Digest
    /// The transactions that were ended, for people: role, application, age, first words of the query.
    public var ended: [String]

    public init(transaction: String, fenceLSN: String, stored: Digest, ended: [String]) {
        self.transaction = transaction
        self.fenceLSN = fenceLSN
        self.stored = stored
        self.ended = ended
    }
}

/// Why a database task failed, and whether anything may have taken effect.
public struct DatabaseFailure: Error, Hashable, Codable, Sendable {
    public enum Effect: String, Codable, Sendable {
        /// Nothing took effect: the transaction was rolled back, or never began.
        case none
        /// Something may have taken effect; probe before anything else.
        case unknown
    }

    /// A stable word for programs, such as `stragglers`, `superseded`, `sql`, `unreachable`.
    public var code: String
    /// What failed, where (file and statement for a migration) and what PostgreSQL said.
    public var message: String
    /// What to do next.
    public var advice: String?
    public var effect: Effect
    /// All findings, for `preflight`.
    public var findings: [Diagnostic]

    public init(
        code: String, _ message: String, advice: String? = nil, effect: Effect = .none,
        findings: [Diagnostic] = []
    ) {
        self.code = code
        self.message = message
        self.advice = advice
        self.effect = effect
        self.findings = findings
    }
}
