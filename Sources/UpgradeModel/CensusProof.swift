// SPDX-License-Identifier: Apache-2.0

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
    /// The system identifier of the server that was asked (`pg_control_system()`); `nil` from coordinators before 0.2.
    public var server: String?
    /// The timeline of its log; another one means that a standby has taken over since.
    public var timeline: String?

    public init(
        transaction: String, fenceLSN: String, stored: Digest, ended: [String],
        server: String? = nil, timeline: String? = nil
    ) {
        self.transaction = transaction
        self.fenceLSN = fenceLSN
        self.stored = stored
        self.ended = ended
        self.server = server
        self.timeline = timeline
    }
}
