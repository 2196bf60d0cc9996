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

    public init(transaction: String, fenceLSN: String, stored: Digest, ended: [String]) {
        self.transaction = transaction
        self.fenceLSN = fenceLSN
        self.stored = stored
        self.ended = ended
    }
}
