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
        /// After a migration that has failed, where the run goes on without it: prove that the fence is up, as the census left it, and
        /// keep it up for a later run, which may take it over.
        case leaveOut
        /// Take the write block down and restore exactly what was stored.
        case lowerFence
        /// Apply the `contract` migrations, after the lift.
        case contract
        /// Undo the `switch` migrations of this run with their down-migrations, in one transaction.
        case revertMigrate
        /// Undo the `expand` migrations of this run with their down-migrations.
        case revertExpand
        /// On the way back of a run that did not come to `expand`: say what is other than `preflight` found it. Changes nothing.
        case compareSchema
        /// Keep what a tool's own ledger and the schema are before it runs, and let its sessions through the fence.
        case openPass
        /// Let the tool's sessions through no longer, and say what has changed since `openPass`.
        case closePass
        /// The same on the way back, whatever became of the tool.
        case settlePass
        /// On the way back: let the sessions of the tool that undoes through the fence.
        case openRevertPass
        /// Let them through no longer, and say what is still other than before.
        case closeRevertPass
        /// Read what a tool says that it would do, as a migration file is read.
        case readPreview
        /// End what is left of a tool that ran before the window, and say what has changed since `expand`.
        case judgeExpand
        /// The same on the way back, whatever became of the tool.
        case settleExpand
        /// On the way back: say what is still other than before.
        case judgeRevertExpand
        /// End what is left of a tool that ran after the lift, and say what has changed since `contract`.
        case judgeContract
        /// After the census: let the standby reach what the census has proved, and cut it off there, so that it shows what was before
        /// the migration for as long as that takes.
        case freezeStandby
        /// Let the standby follow again, and wait until it has caught up; what was set for the freeze is as it was before.
        case feedStandby
        /// On the way back, while nodes go over to read from the frozen standby: promote it. It has the fence, which stays up, so that
        /// nobody writes on either server.
        case promoteBehindFence
        /// On the way back: shut the primary for good, make the frozen standby the primary, and take the fence down there.
        case promoteStandby
        /// Tell whoever looks after both servers to change neither of them by itself, and wait until it says so.
        case pauseManager
        /// Let it go on as before the run, with the server as its leader that is the primary now.
        case resumeManager
    }

    public var kind: Kind
    public var run: RunIdentifier
    /// Bumped inside the transaction that does the work; a task of a lower epoch changes nothing.
    public var epoch: Epoch
    /// Counts from 1 for each kind within a run.
    public var attempt: Int
    /// For `raiseFence` and `census`: what is left of the plan's drain timeout; all of it when `nil`.
    public var budget: Span?
    /// For `lowerFence` on the way forward: what the census of this run has proved. Then the fence has to be up as that
    /// census left it, with every `switch` migration in the ledger, or the task fails. On the way back, `nil`: a fence that is
    /// not there is down.
    public var proof: CensusProof?
    /// What a person says was done by hand; looked at first, and taken into the ledger when it is so.
    public var claims: [MigrationClaim]?
    /// For `openPass` and `openRevertPass`: the digest of the secret that the tool's sessions show. `nil`: nobody will.
    public var pass: Digest?
    /// For `expand`, `revertExpand` and `compareSchema`: what `preflight` found the schema to be.
    public var schema: Digest?
    /// For `readPreview`: what the tool has said.
    public var preview: String?
    /// For `contract`: who could write before and in the window, the addresses of all nodes, and which nodes do not say theirs.
    public var sessions: WindowSessions?
    public var addresses: [String]?
    public var silentNodes: [NodeName]?
    /// For `lowerFence`: the connections of processes that are frozen and will not run again, a list for each node, as
    /// ``Silence/connections`` has them. Their sessions end before the fence goes down.
    public var frozenConnections: [[String]]?
    /// Set once the standby has taken the place of the primary: the task is for the database there.
    public var isPromoted: Bool?

    public init(
        kind: Kind, run: RunIdentifier, epoch: Epoch, attempt: Int, budget: Span? = nil,
        proof: CensusProof? = nil, pass: Digest? = nil
    ) {
        self.kind = kind
        self.run = run
        self.epoch = epoch
        self.attempt = attempt
        self.budget = budget
        self.proof = proof
        self.pass = pass
    }
}
