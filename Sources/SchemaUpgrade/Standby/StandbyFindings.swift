// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What is to be said of a standby in more than one place.
enum StandbyFindings {
    static let attach =
        "on the primary: SELECT pg_create_physical_replication_slot('NAME'); on the standby: ALTER SYSTEM SET primary_slot_name = 'NAME', "
        + "and SELECT pg_reload_conf(); then see that pg_stat_wal_receiver has a row"

    static func stranger(_ look: StandbyLook, server: String, database: String) -> Diagnostic? {
        if look.server != server {
            return Diagnostic(
                .error, code: "standby-foreign",
                "the standby's address leads to a copy of another server (system identifier \(look.server), the primary's is \(server))",
                advice: "give the address of a standby of this primary")
        }
        if !look.isInRecovery {
            return Diagnostic(
                .error, code: "standby-primary",
                "the standby's address leads to a server that is no standby",
                advice: "give the address of a standby of this primary")
        }
        if look.database != database {
            return Diagnostic(
                .error, code: "standby-database",
                "the standby's address names database \(look.database), and the primary's \(database)",
                advice: "name the same database in both")
        }
        return nil
    }

    static func held(_ row: FrozenRow) -> DatabaseFailure {
        DatabaseFailure(
            code: "standby-held", "the standby is frozen for run \(row.run)",
            advice: FenceSchema.heldAdvice(row.run))
    }

    /// Whoever is the primary has the fence: it came with the log.
    static let failedOver = DatabaseFailure(
        code: "primary-standby",
        "the server at the database's address is a standby now: another one was made the primary in the middle of the run",
        advice:
            "nothing was lost, for the fence is up there as well; make this server the primary again (with Patroni: `patronictl switchover`), then try again",
        effect: .unknown)

    static func shut(_ row: FrozenRow) -> DatabaseFailure {
        DatabaseFailure(
            code: "primary-shut",
            "run \(row.run) has shut this server for good: its standby was made the primary, or is about to be",
            advice:
                "give the coordinator the address of the new primary; what to do with this server is in the report of run \(row.run)"
        )
    }
}
