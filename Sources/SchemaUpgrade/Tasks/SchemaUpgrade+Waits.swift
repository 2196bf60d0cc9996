// SPDX-License-Identifier: Apache-2.0

import PostgresClient
public import UpgradeModel

/// Who waits for whom while a run is at work, for somebody who watches it.
extension SchemaUpgrade {
    /// Whom the task under way and the run's migration tool wait for at this moment, a line each, for people.
    ///
    /// Asked beside a task, over a session of its own that stays open until ``endWatch()``. What is tried again because a lock was
    /// not to be had is said from the last attempt that was looked at. Nothing where nobody waits, or nobody could look.
    public func waits(of run: RunIdentifier) async -> [String] {
        let tried = waitsFor
        let own = process.map { "\($0)" } ?? "NULL"
        var found: [String] = []
        do {
            let rows = try await openedWatcher().execute(
                SchemaUpgrade.waits(own: own, tool: ToolSession.name(in: run)))
            found = rows.map { $0.text(0) }
        } catch {
            await endWatch()
        }
        return found + tried.map(SchemaUpgrade.migrationWaits).filter { !found.contains($0) }
    }

    /// Ends the session that looks.
    public func endWatch() async {
        let ending = watcher
        watcher = nil
        await ending?.close()
        await endWatchOfStandby()
    }

    private static func migrationWaits(for holder: String) -> String {
        "the migration waits for \(holder)"
    }

    /// The tool's sessions are those that its node has named, or that have come through the fence.
    private static func waits(own: String, tool: String) -> String {
        """
        SELECT DISTINCT CASE WHEN w.pid = \(own) THEN 'the migration waits for '
            ELSE format('the migration tool (process %s: %s) waits since %s for ', w.pid,
                coalesce((regexp_match(w.query, '\(FenceStatements.firstWords)'))[1], '(no query)'),
                \(FenceSchema.utcText("coalesce(l.since, w.query_start)"))) END || \(FenceStatements.holder)
        FROM pg_stat_activity AS w
            CROSS JOIN LATERAL (SELECT min(waitstart) AS since FROM pg_locks WHERE pid = w.pid AND NOT granted) AS l
            CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b (pid)
            JOIN pg_stat_activity AS a ON a.pid = b.pid
        WHERE w.datname = current_database() AND w.wait_event_type = 'Lock'
            AND (w.pid = \(own) OR w.application_name = \(quotedLiteral(tool))
                OR w.pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
                    AND classid = \(LockClass.pass)
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
        ORDER BY 1 LIMIT 10
        """
    }

    func openedWatcher() async throws -> PostgresConnection {
        if let watcher { return watcher }
        let opened = try await PostgresConnection.connect(
            ConnectionOptions(address: address, applicationName: SchemaUpgrade.name))
        do {
            _ = try await opened.execute(
                SchemaUpgrade.lookLockStatements
                    + "; SET search_path = pg_catalog; SET standard_conforming_strings = on; "
                    + "SET statement_timeout = '5s'; SET jit = off")
        } catch {
            await opened.close()
            throw error
        }
        watcher = opened
        return opened
    }
}
