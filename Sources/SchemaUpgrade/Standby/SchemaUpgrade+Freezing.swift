// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What is kept of a standby before anything of it is changed.
extension SchemaUpgrade {
    /// The table for it, before the window; the fence's schema is there.
    func installStandbySchema(_ task: DatabaseTask) async throws {
        guard configuration.standby != nil, !isAtStandby, try await isInstalled(),
            try await !open().query("SELECT \(StandbySchema.exists)")[0].isTrue(0)
        else { return }
        _ = try await open().execute(claim(task) + StandbySchema.install)
    }

    /// For the transaction of the census, so that the standby has it with everything else and the freeze writes nothing before it.
    /// Empty where there is no standby, or it is kept already.
    ///
    /// - Throws: as ``freezing(_:_:_:)``.
    func freezing(_ task: DatabaseTask) async throws -> String {
        guard let access = configuration.standby, !isAtStandby else { return "" }
        let earlier = try await frozenRow(open())
        if let earlier, earlier.run == task.run.rawValue, earlier.state != "shut" { return "" }
        let look = try await lookOnceItReceives(access)
        try await refuseStranger(look)
        return try await freezing(look, earlier, task)
    }

    /// Between two connections it has no slot to be seen. A receiver that has failed twice asks again after
    /// `wal_retrieve_retry_interval`, five seconds unless set; that is waited for as what the standby is behind is.
    private func lookOnceItReceives(
        _ access: Configuration.StandbyAccess
    ) async throws -> StandbyLook {
        let end = deadline(.milliseconds(access.lag.milliseconds + 5_000))
        var look = try await lookAtStandby()
        _ = try await reached(by: end, every: .milliseconds(20)) {
            if look.slot != nil || !look.isInRecovery { return true }
            look = try await lookAtStandby()
            return false
        }
        return look
    }

    /// Keeps what is set now. What an earlier attempt has kept stays: by now it may be changed.
    ///
    /// - Throws: `standby-held`, `primary-shut`, `standby-detached`.
    func freezing(
        _ look: StandbyLook, _ earlier: FrozenRow?, _ task: DatabaseTask
    ) async throws -> String {
        if let earlier {
            guard earlier.run == task.run.rawValue else { throw StandbyFindings.held(earlier) }
            if earlier.state == "shut" { throw StandbyFindings.shut(earlier) }
        } else if look.slot == nil {
            throw DatabaseFailure(
                code: "standby-detached", "the standby has no receiver with a slot",
                advice: StandbyFindings.attach)
        }
        let slot = look.slot ?? ""
        let synchronous = try await synchronousNames(slot)
        let isThere = try await open().query("SELECT \(StandbySchema.exists)")[0].isTrue(0)
        func literal(_ text: String?) -> String { text.map(quotedLiteral) ?? "NULL" }
        return (isThere ? "" : StandbySchema.install)
            + """
            INSERT INTO sluice.standby (run, epoch, state, slot, conninfo_set, restore_set, synchronous, synchronous_set,
                synchronous_meanwhile)
            VALUES (\(quotedLiteral(task.run.rawValue)), \(task.epoch.rawValue), 'freezing', \(quotedLiteral(slot)),
                \(look.isConninfoSet), \(look.isRestoreSet), \(literal(synchronous?.before)),
                \(synchronous.map { "\($0.isSet)" } ?? "NULL"), \(literal(synchronous?.meanwhile)))
            ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch, state = 'freezing';

            """
    }
}
