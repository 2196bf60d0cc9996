// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// The schema `sluice`: whether it is there, of which version, and its making.
extension SchemaUpgrade {
    /// What there is of the schema `sluice`.
    enum Installation { case none, older, current, newer }

    /// Whether the schema `sluice` is there, of whatever version.
    func isInstalled() async throws -> Bool { try await findInstallation() != .none }

    private func findInstallation() async throws -> Installation {
        if let installation { return installation }
        let comment = try await open().query(
            """
            SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'sluice'
                AND starts_with(obj_description(oid, 'pg_namespace'), '\(FenceSchema.family)')
                -- Another migrator's is named by preflight.
                AND has_schema_privilege(oid, 'USAGE')
            """
        ).first?.text(0)
        let found: Installation =
            comment.map { FenceSchema.compare(toOwn: $0, isComplete: isComplete) } ?? .none
        // What is not there may be made by another run.
        if found != .none { installation = found }
        return found
    }

    /// Makes the schema `sluice`, in a transaction of its own, before anything waits for it.
    func install(_ task: DatabaseTask) async throws {
        if try await findInstallation() == .current { return }
        try await takingOwnLocks {
            _ = try await open().transaction { session in
                // Two runs may come to it at once.
                try session.execute(
                    """
                    SET LOCAL lock_timeout = '\(SchemaUpgrade.ownLockTimeout)';
                    SELECT pg_advisory_xact_lock(\(LockClass.installation), 0);
                    SET LOCAL lock_timeout = '10s';

                    """ + FenceSchema.install + claim(task))
            }
        }
        installation = .current
    }

    /// A schema of an older version is brought up to date before any task but those that change nothing.
    ///
    /// - Throws: `schema-newer` when a newer coordinator has made the schema: its functions are not to be replaced by older
    ///   ones, maybe under a fence that is up.
    func bringUpToDate(_ task: DatabaseTask) async throws {
        switch try await findInstallation() {
        case .none, .current: return
        case .older:
            if ![.preflight, .compareSchema].contains(task.kind) { try await install(task) }
        case .newer:
            throw DatabaseFailure(
                code: "schema-newer",
                "a newer coordinator has worked on this database: its schema sluice is newer than version \(FenceSchema.version)",
                advice: "put the newer coordinator back, and let it end the run")
        }
    }
}

/// Checks the epoch and raises it to the task's, in the transaction that does the work.
///
/// Fails as `superseded` when a higher epoch has been here.
func claim(_ task: DatabaseTask) -> String { call("claim", task) }

/// Fails, in a transaction, as `fence-held` while the fence of another run is up.
func keepOut(_ task: DatabaseTask) -> String {
    "SELECT sluice.keep_out(\(quotedLiteral(task.run.rawValue)));\n"
}

/// A function of the schema `sluice` that takes epoch and run.
func call(_ function: String, _ task: DatabaseTask) -> String {
    "SELECT sluice.\(function)(\(task.epoch.rawValue), \(quotedLiteral(task.run.rawValue)));\n"
}
