// SPDX-License-Identifier: Apache-2.0

import PostgresClient
public import UpgradeModel

/// What preflight would find, for somebody who has not begun a run yet.
extension SchemaUpgrade {
    /// Asks all that preflight asks, in a session that cannot write and ends with the answer. The server reads that nothing is
    /// changed: every transaction is read only.
    ///
    /// - Returns: the findings as warnings of a report, or the failure of preflight with all of them.
    public func look() async -> DatabaseOutcome {
        let task = DatabaseTask(
            kind: .preflight, run: RunIdentifier(unchecked: "look"), epoch: Epoch(rawValue: 0),
            attempt: 1)
        let outcome = await stoppable(task) {
            do {
                try await connect {
                    _ = try await self.open().execute(SchemaUpgrade.lookLockStatements)
                }
                _ = try await open().execute(
                    "SET default_transaction_read_only = on; SET statement_timeout = '10s'")
                return .done(try await preflight(task))
            } catch {
                return .failed(failure(from: error))
            }
        }
        await close()
        return outcome
    }
}
