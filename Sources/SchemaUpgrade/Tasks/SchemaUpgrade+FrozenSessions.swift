// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// The sessions of processes that are frozen and will not run again: the agents say by which ports they are connected.
///
/// Such a session has, perhaps, been sent more than it has done: commands that a client sends ahead without waiting for answers, calls of
/// the large-object functions. The server does them one after the other, also for a client that is frozen or gone. So they are ended
/// before anything that the fence has taken comes back.
extension SchemaUpgrade {
    /// Ends them, those of superusers only by a migrator who is one.
    func endFrozenSessions(_ task: DatabaseTask) async throws -> FrozenSessions {
        let nodes = (task.frozenConnections ?? []).map { $0.compactMap(FrozenConnection.init) }
        let places = nodes.joined().filter { !$0.isOnLoopback }.map(\.local)
        let own = try await ownPlaces(nodes)
        var frozen = FrozenSessions(isOnNode: !own.isEmpty)
        let all = places + own
        let processes = (task.frozenConnections ?? []).joined().compactMap(FrozenProcess.init)
        if all.isEmpty, processes.isEmpty { return frozen }
        let found = try await stragglers(
            """
            a.backend_type = 'client backend'
                AND (\(FrozenConnection.place) = ANY (\(Self.list(all))) OR \(FrozenProcess.isOne(of: processes)))
                AND a.usename <> session_user AND (\(isComplete) OR a.usesysid NOT IN (SELECT oid FROM pg_roles WHERE rolsuper))
            """)
        if found.isEmpty { return frozen }
        let numbers = Set(processes.map(\.number))
        if found.contains(where: { numbers.contains($0.process) }) { frozen.isOnNode = true }
        try await endFrozen(found, until: deadline(.seconds(10)))
        frozen.ended = found
        frozen.lines = SchemaUpgrade.grouped(found).map {
            "ended, because its client is frozen for good: \($0)"
        }
        return frozen
    }

    /// Tells all of them to end, and waits for those that are in the middle of a statement; writers wait for this.
    ///
    /// One that is told while it waits for its client begins no other statement: the server looks at that before it does what it has
    /// read. Its end takes some milliseconds more, and nobody has to see it.
    private func endFrozen(
        _ sessions: [Straggler], until deadline: ContinuousClock.Instant
    ) async throws {
        let told = """
            FROM pg_stat_activity AS a JOIN unnest($1::integer[], $2::text[]) AS s (pid, session)
                ON a.pid = s.pid AND a.backend_start::text = s.session
            """
        let parameters = [
            "{\(sessions.map(\.process).joined(separator: ","))}",
            "{\(sessions.map { "\"\($0.session)\"" }.joined(separator: ","))}",
        ]
        try await open().query("SELECT pg_terminate_backend(a.pid) \(told)", parameters)
        while true {
            let busy = try await open().query(
                "SELECT a.pid \(told) WHERE coalesce(a.state, '') NOT LIKE 'idle%'", parameters
            ).map { $0.text(0) }
            if busy.isEmpty { return }
            try checkCancellation()
            guard ContinuousClock.now < deadline else {
                throw SchemaUpgrade.undying(
                    sessions.filter { busy.contains($0.process) }.map(\.description), [])
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Places on a loopback network are those of this server only if the node is its host. It is when the server knows every one of them that
    /// leads to its port: ports are chosen at random.
    private func ownPlaces(_ nodes: [[FrozenConnection]]) async throws -> [String] {
        let local = nodes.map { $0.filter(\.isOnLoopback) }.filter { !$0.isEmpty }
        if local.isEmpty { return [] }
        let row = try await open().query(
            """
            SELECT current_setting('port'), coalesce(array_agg(\(FrozenConnection.place)), '{}') FROM pg_stat_activity AS a
            WHERE a.client_port > 0
            """)[0]
        let known = Set(row.text(1).dropFirst().dropLast().split(separator: ",").map(String.init))
        return local.map { connections in
            connections.filter { $0.remotePort == row.text(0) }.map(\.local)
        }.filter { $0.allSatisfy(known.contains) }.flatMap(\.self)
    }

    private static func list(_ places: [String]) -> String {
        "ARRAY[\(places.map(quotedLiteral).joined(separator: ", "))]::text[]"
    }
}

/// `postgres:4711@1764460000.12`, as an agent says it of a process of the server that a unix socket leads to.
struct FrozenProcess {
    /// As the server has it.
    var number: String
    /// Seconds since 1970.
    var began: Double

    /// - Returns: `nil` for what is no such text.
    init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1).last?.split(separator: "@") ?? []
        guard text.hasPrefix("postgres:"), parts.count == 2, let number = Int32(parts[0]),
            let began = Double(parts[1]), began.isFinite
        else { return nil }
        self.number = "\(number)"
        self.began = began
    }

    /// The number alone may be another server's; when it began says whether. The kernel's clock of that is good to a second.
    static func isOne(of processes: [FrozenProcess]) -> String {
        if processes.isEmpty { return "false" }
        let list = processes.map { "(\($0.number), \($0.began))" }.joined(separator: ", ")
        return """
            EXISTS (SELECT FROM (VALUES \(list)) AS p (pid, began)
                WHERE a.pid = p.pid AND abs(extract(epoch FROM a.backend_start)::float8 - p.began::float8) < 2)
            """
    }
}

/// What became of them.
struct FrozenSessions {
    /// Who was told to end; some may take a moment to.
    var ended: [Straggler] = []
    /// The same for people.
    var lines: [String] = []
    /// A node is this server's own host.
    var isOnNode = false

    func contains(_ session: Straggler) -> Bool {
        ended.contains { $0.process == session.process && $0.session == session.session }
    }
}

/// `10.0.0.7:41218->10.0.0.5:5432`, as an agent says it.
struct FrozenConnection {
    /// Where the client is, as the server sees it.
    var local: String
    var remotePort: String

    /// - Returns: `nil` for what is no such text.
    init?(_ text: String) {
        let ends = text.split(separator: "->", maxSplits: 1).map(String.init)
        guard ends.count == 2, let colon = ends[1].lastIndex(of: ":") else { return nil }
        local = ends[0]
        remotePort = String(ends[1][ends[1].index(after: colon)...])
    }

    var isOnLoopback: Bool { local.hasPrefix("127.") || local.hasPrefix("[::1]:") }

    /// The same of a session.
    static let place = """
        format(CASE family(a.client_addr) WHEN 6 THEN '[%s]:%s' ELSE '%s:%s' END, host(a.client_addr), a.client_port)
        """
}
