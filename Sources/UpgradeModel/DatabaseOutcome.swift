// SPDX-License-Identifier: Apache-2.0

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
    /// Findings that do not stop the run: of `preflight`, and of `contract`, which looks at who is still connected.
    public var warnings: [Diagnostic]
    /// For `migrate` and `expand`: versions applied by this run (also those that an earlier attempt had applied).
    public var versions: [String]
    /// For `openPass`, and for `expand` and `contract` where a tool follows: the last entries of the tool's own ledger, before it ran.
    public var ledger: [String]?
    /// For the tasks that look at what a tool has done: what is other than before it ran.
    public var change: ToolChange?
    /// For `preflight`: what the application's schema was, as one digest.
    public var schema: Digest? = nil
    /// For `revertExpand` and `compareSchema`: the objects that are not as `preflight` found them; `nil` when that could not be compared.
    public var schemaChanges: [String]? = nil
    /// For `raiseFence`: how many transactions that were under way then the census has still to wait for; `nil` when nobody has looked.
    public var older: Int? = nil
    /// For `preflight`: which database of which server it is, so that two names for one are noticed.
    public var place: String? = nil
    /// For `preflight`: the run that has left the database out, with its fence up. This one takes the fence over.
    public var leftOutBy: RunIdentifier? = nil
    /// For `preflight` and `lowerFence`: who could write then, so that what is left of it is known after the lift.
    public var sessions: WindowSessions? = nil
    /// For `lowerFence`: what the fence has refused since it went up; `nil` where nothing was counted.
    public var refused: RefusedTables? = nil

    public init(
        lines: [String] = [], duration: Span = .zero, census: CensusProof? = nil,
        warnings: [Diagnostic] = [],
        versions: [String] = [], ledger: [String]? = nil, change: ToolChange? = nil
    ) {
        self.lines = lines
        self.duration = duration
        self.census = census
        self.warnings = warnings
        self.versions = versions
        self.ledger = ledger
        self.change = change
    }
}

/// Why a database task failed, and whether anything may have taken effect.
public struct DatabaseFailure: Error, Hashable, Codable, Sendable {
    public enum PossibleEffect: String, Codable, Sendable {
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
    public var effect: PossibleEffect
    /// All findings, for `preflight`.
    public var findings: [Diagnostic]

    public init(
        code: String, _ message: String, advice: String? = nil, effect: PossibleEffect = .none,
        findings: [Diagnostic] = []
    ) {
        self.code = code
        self.message = message
        self.advice = advice
        self.effect = effect
        self.findings = findings
    }
}
