// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What of the old release writes while it reads. It shows in stage, where the reader is started and asked on the standby.
extension SchemaUpgrade {
    /// How many transactions were rolled back on the standby; a write there is one of them.
    func rolledBackOnStandby() async throws -> Int64? {
        try await openStandby().query(
            "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        ).first?.integer(0)
    }

    /// Warns where transactions have failed on the standby since preflight. A coordinator that has taken over since does not know.
    func warningOfReaderWrites(_ report: DatabaseReport) async -> DatabaseReport {
        guard let before = rollbacksBefore, !isAtStandby,
            let now = try? await rolledBackOnStandby(), now > before
        else { return report }
        var report = report
        report.warnings.append(
            Diagnostic(
                .warning, code: "standby-writes",
                "\(now - before) transactions were rolled back on the standby since preflight, while the old release was asked there: "
                    + "something writes while it reads (a session, a counter, last seen), and gets 25006",
                advice:
                    "see in the standby's log which statement it is; behind the fence it fails in the same way, on the primary as well"
            ))
        return report
    }
}
