// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Which tables the fence has refused, and how often. Nothing of it stops a run.
extension SchemaUpgrade {
    /// Makes the counters of a run, before the window.
    ///
    /// - Returns: why nothing will be counted, for people.
    func makeRefusalCounters(_ task: DatabaseTask) async throws -> [String] {
        let counters = RefusalCounters(of: task.run)
        do {
            try await open().transaction { session in
                try session.execute(
                    claim(task) + FenceSchema.quietly + counters.dropLeftOver
                        + "SET LOCAL lock_timeout = '2s';\n" + counters.make)
            }
            // In the window the server process has them in its caches.
            _ = try await open().query(counters.read)
            return []
        } catch let error as PostgresError where error.mayBeLeft {
            return ["what the fence refuses will not be counted: \(error.description)"]
        }
    }

    /// Says in a report what the fence of this run has refused. A standby that was promoted has no numbers: they are unlogged.
    func tellRefusals(_ task: DatabaseTask, _ report: inout DatabaseReport) async throws {
        if isAtStandby || task.isPromoted == true { return }
        do {
            let rows = try await open().query(RefusalCounters(of: task.run).read)
            if rows.isEmpty { return }
            let tables = rows.compactMap { row in
                row[0].map { RefusedTables.Table(name: $0, statements: row.integer(1) ?? 0) }
            }
            let rest = rows.first { $0[0] == nil }?.integer(1) ?? 0
            let refused = RefusedTables(tables: tables, others: rest)
            report.refused = refused
            if let description = refused.description {
                report.lines.append("refused while the fence was up: \(description)")
            }
        } catch let error as PostgresError where error.mayBeLeft {
            report.lines.append("what the fence refused could not be read: \(error.description)")
        }
    }

    /// Drops the counters of a run, after the window.
    func dropRefusalCounters(_ task: DatabaseTask) async throws {
        let drop = claim(task) + FenceSchema.quietly + RefusalCounters(of: task.run).drop
        do {
            try await open().transaction { session in _ = try session.execute(drop) }
        } catch let error as PostgresError where error.mayBeLeft {
            // The next run tries again.
        }
    }
}

extension PostgresError {
    /// Whether a task may go on without what has failed: the session is there, the task was not stopped, and nobody has taken its
    /// place.
    fileprivate var mayBeLeft: Bool {
        guard case .server = self else { return false }
        return refusal == nil && sqlState != "57014"
    }
}
