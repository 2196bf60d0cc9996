// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import UpgradeModel

extension SchemaUpgrade {
    /// Looks, before writes open on the way forward, whether this is the database that the census of this run has proved
    /// silent, with everything that the run has done to it since.
    ///
    /// A standby that was behind, or a backup, may have taken its place: the fence may be gone there, the migration too, and
    /// the new release would write to the old schema.
    ///
    /// - Returns: what is worth saying and stops nobody.
    /// - Throws: `fence-lost`, with what is missing.
    func hold(_ found: FenceState?, against proof: CensusProof, _ task: DatabaseTask) async throws
        -> [String]
    {
        let row = try await open().query(
            """
            SELECT \(FenceStatements.server), \(FenceStatements.timeline),
                pg_current_wal_flush_lsn() >= $1::pg_lsn
            """, [proof.fenceLSN])[0]
        if let server = proof.server, row[0] != server {
            throw lost(
                "this is another server: its system identifier is \(row.text(0)), that of the census \(server)"
            )
        }
        guard let found, found.run == task.run.rawValue else {
            if try await isLifted(task) { return [] }
            throw lost(
                found.map { "the fence of run \($0.run) is in its place" } ?? "no fence is up")
        }
        if found.state == "lifting" { return [] }
        guard found.state == "up" else { throw lost("the fence is only half up") }
        guard found.census == proof.transaction, row.isTrue(2) else {
            throw lost("the census of this run (transaction \(proof.transaction)) is not in it")
        }
        let missing = try await ledger().pending(.switch, configuration.migrations)
        guard missing.isEmpty else {
            throw lost("not in its ledger: \(missing.map(\.title).joined(separator: ", "))")
        }
        guard let timeline = proof.timeline, row.text(1) != timeline else { return [] }
        return [
            "a standby has taken over since the census (timeline \(timeline), now \(row.text(1))); it has fence, census and migrations"
        ]
    }

    /// Whether an earlier attempt of this run has lowered its fence.
    private func isLifted(_ task: DatabaseTask) async throws -> Bool {
        guard try await isInstalled() else { return false }
        return try await !open().query(
            "SELECT FROM sluice.epoch WHERE lifted = $1", [task.run.rawValue]
        ).isEmpty
    }

    private func lost(_ what: String) -> DatabaseFailure {
        DatabaseFailure(
            code: "fence-lost",
            "writes stay closed, because the database is not the one that this run has migrated: \(what)",
            advice:
                "see whether a standby or a backup has taken its place, and put the right one back"
        )
    }
}
