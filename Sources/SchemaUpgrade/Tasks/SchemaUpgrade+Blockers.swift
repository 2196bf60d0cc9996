// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Who keeps a migration, or the application's migration tool, waiting for a lock.
extension SchemaUpgrade {
    /// Who keeps each of some sessions waiting at this moment, by the process that waits.
    private static func blockers(of processes: String) -> String {
        """
        SELECT w.pid, \(FenceStatements.holder) FROM unnest('{\(processes)}'::integer[]) AS w (pid),
            unnest(pg_blocking_pids(w.pid)) AS b (pid) JOIN pg_stat_activity AS a ON a.pid = b.pid
        GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 20
        """
    }

    /// - Returns: for each of the sessions that waits, whom it waits for.
    func blockers(of sessions: [Straggler]) async throws -> [String: [String]] {
        let processes = sessions.map(\.process).joined(separator: ",")
        return Dictionary(
            grouping: try await open().query(SchemaUpgrade.blockers(of: processes)),
            by: { $0.text(0) }
        ).mapValues { $0.map { $0.text(1) } }
    }

    /// Does something that may wait for a lock, with another session that looks, before the wait is given up, at who has it.
    ///
    /// - Parameter isWaitLikely: an attempt before has lost such a wait; otherwise nobody looks.
    /// - Returns: what the body has returned. Whoever was in the way stands in `waitedFor`.
    func namingBlockers<Value: Sendable>(
        isWaitLikely: Bool, _ body: () async throws -> Value
    ) async throws -> Value {
        guard isWaitLikely else { return try await body() }
        let process = try await open().perform { $0.processIdentifier }
        let watch = Task { await self.lookAtBlockers(of: process) }
        let result: Result<Value, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        watch.cancel()
        await watch.value
        return try result.get()
    }

    private func lookAtBlockers(of process: Int32) async {
        let wait = Span.milliseconds(configuration.lockTimeout.milliseconds / 2)
        guard (try? await Task.sleep(for: wait.duration)) != nil,
            let watcher = try? await PostgresConnection.connect(
                ConnectionOptions(
                    address: configuration.address, applicationName: SchemaUpgrade.name))
        else { return }
        let found = try? await watcher.execute(
            SchemaUpgrade.lookLockStatements + "; SET search_path = pg_catalog; "
                + SchemaUpgrade.blockers(of: "\(process)"))
        await watcher.close()
        waitsFor = (found.map(Array.init) ?? []).map { $0.text(1) }
        waitedFor += waitsFor.filter { !waitedFor.contains($0) }
    }
}
