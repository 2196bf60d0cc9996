// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// What the server says of sessions before the window and after it. Whose they may be decides ``LateSessions``.
extension SchemaUpgrade {
    /// Everybody who may write here now, apart from superusers, the migrator and roles of the plan's `trusted`.
    ///
    /// - Parameter since: the instant of the fence; only older sessions, where it is said.
    func windowSessions(since: String? = nil, hasPooler: Bool = false) async throws
        -> WindowSessions
    {
        let seen = try await writersNow(since: since)
        return WindowSessions(
            since: since,
            holders: Set(seen.values.filter { since == nil || $0.isOlder }.map(\.holder)),
            hasPooler: hasPooler)
    }

    /// Who may write, once writes are open: looked at when `contract` begins, for what ends before it is over.
    func firstLateSessions(_ task: DatabaseTask) async -> [String: LateSession] {
        guard let since = task.sessions?.since, task.addresses != nil else { return [:] }
        return (try? await writersNow(since: since)) ?? [:]
    }

    /// Names, once writes are open, who may be of the old release; looks for as long as the configuration says.
    ///
    /// What has taken effect before must not fail here, so whatever goes wrong is a line.
    func nameLateSessions(
        _ task: DatabaseTask, since first: [String: LateSession], _ report: inout DatabaseReport
    ) async {
        guard let before = task.sessions, let since = before.since, let addresses = task.addresses
        else { return }
        var seen = first
        var places = NodePlaces(
            addresses: Set(addresses), silent: (task.silentNodes ?? []).map(\.rawValue))
        let deadline = deadline(configuration.sessionWatch)
        do {
            places.hasServer = try await isServer(on: places, before)
            while true {
                seen.merge(try await writersNow(since: since)) { first, _ in first }
                if isCancelled || ContinuousClock.now >= deadline { break }
                try await Task.sleep(for: .milliseconds(100))
            }
        } catch {
            report.lines.append(
                "who of the old release may still be connected could not be looked at: \(failure(from: error).message)"
            )
            return
        }
        let late = LateSessions(Array(seen.values), before: before, nodes: places)
        report.lines += late.lines
        report.warnings += late.warnings
    }

    /// Whether the server's own host is a node: by the address that this session has reached it at, or by what agents have seen.
    ///
    /// - Returns: `nil` when nobody can tell, as from the same host.
    private func isServer(on nodes: NodePlaces, _ before: WindowSessions) async throws -> Bool? {
        if let known = before.isOnNode { return known }
        let address = try await open().query("SELECT host(inet_server_addr())")[0][0]
        guard let address, !address.hasPrefix("127."), address != "::1" else { return nil }
        if nodes.addresses.contains(address) { return true }
        return nodes.silent.isEmpty ? false : nil
    }

    /// By process and beginning.
    private func writersNow(since: String?) async throws -> [String: LateSession] {
        let rows = try await open().query(
            """
            SELECT a.pid || ' ' || a.backend_start, a.usename, a.application_name, host(a.client_addr),
                a.backend_start < $1::timestamptz
            FROM pg_stat_activity AS a WHERE a.backend_type = 'client backend' AND a.datname = current_database()
                AND a.pid <> pg_backend_pid() AND a.usename <> session_user
                AND a.usesysid NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)
            """, [since])
        if rows.isEmpty { return [:] }
        let spared = try await rolesThatOnlyRead().union(configuration.trustedSuperusers)
        var found: [String: LateSession] = [:]
        for row in rows where !spared.contains(row.text(1)) {
            found[row.text(0)] = LateSession(
                holder: SessionHolder(
                    role: row.text(1), application: row.text(2), address: row[3]),
                isOlder: row.isTrue(4))
        }
        return found
    }
}
