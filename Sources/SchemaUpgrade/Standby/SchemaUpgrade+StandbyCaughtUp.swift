// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// How far the standby has replayed.
extension SchemaUpgrade {
    /// Waits until the standby has what a census has proved to be all that was ever written: from then on nobody who reads there misses
    /// anything, whether it is cut off or not.
    ///
    /// - Returns: what is worth saying of it.
    /// - Throws: `standby-unreachable`, `standby-lag`.
    func waitForStandby(_ proof: CensusProof, _ task: DatabaseTask) async throws -> [String] {
        guard let access = configuration.standby, !isAtStandby else { return [] }
        // An earlier freeze of this run has cut it off: nothing was written since, and the freeze is still to end.
        let look = try await lookAtStandby()
        if look.isStarved, !look.isReceiving { return [] }
        let clock = ContinuousClock()
        let began = clock.now
        try await reach(
            proof.fenceLSN, until: deadline(.milliseconds(access.lag.milliseconds + 10_000)))
        return ["the standby has all of it, after \(Span(began.duration(to: clock.now)))"]
    }

    /// - Throws: `standby-lag`.
    func reach(_ target: String, until deadline: ContinuousClock.Instant) async throws {
        let standby = try await openStandby()
        let isThere = try await reached(by: deadline) {
            try await standby.query("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", [target])[0]
                .isTrue(0)
        }
        if isThere { return }
        let replayed = try await lookAtStandby().replayed
        throw DatabaseFailure(
            code: "standby-lag",
            "the standby has not replayed what the census has proved: it is at \(replayed), and not yet at \(target)",
            advice:
                "see on the standby what replay waits for (pg_stat_activity, backend_type startup)")
    }
}
