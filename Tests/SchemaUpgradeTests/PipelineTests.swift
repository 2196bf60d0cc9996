// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import TestSupport
import Testing
import UpgradeModel

/// A client that sends ahead: commands that the server has, and does one after the other, whatever becomes of the client.
///
/// It speaks the protocol itself, and sends all its statements at once when it is told to. After that it does nothing, like a process that
/// is frozen.
private struct SendingAhead {
    private let program: RunningProgram
    /// As an agent says it.
    let connection: String

    init(_ site: Site, _ statements: [String]) async throws {
        program = try RunningProgram(
            [
                "/usr/bin/python3", "-c", Self.script, "\(site.cluster.port)", site.application,
                site.database,
            ]
                + statements)
        var port = ""
        try await poll {
            port =
                try await site.asSuperuser(
                    "SELECT client_port FROM pg_stat_activity WHERE usename = '$app' AND application_name = 'ahead'"
                ).first?.text(0) ?? ""
            return !port.isEmpty
        }
        connection = "127.0.0.1:\(port)->127.0.0.1:\(site.cluster.port)"
    }

    func send() { program.write("send\n") }
    func end() { _ = program.finish() }

    private static let script = """
        import socket, struct, sys
        port, user, database = int(sys.argv[1]), sys.argv[2], sys.argv[3]
        server = socket.create_connection(('127.0.0.1', port))
        options = b''.join(w.encode() + b'\\0' for w in ('user', user, 'database', database, 'application_name', 'ahead')) + b'\\0'
        server.sendall(struct.pack('!ii', len(options) + 8, 196608) + options)
        heard = b''
        while b'Z\\0\\0\\0\\5I' not in heard: heard += server.recv(4096)
        sys.stdin.readline()
        server.sendall(b''.join(b'Q' + struct.pack('!i', len(s.encode()) + 5) + s.encode() + b'\\0' for s in sys.argv[4:]))
        sys.stdin.read()
        """
}

@Suite struct PipelineTests {
    private static let waits = "SELECT pg_advisory_xact_lock(7)"
    private static let rows = Array(
        repeating: "INSERT INTO entry (name) VALUES ('ahead')", count: 200)
    private static let objects = [
        "SELECT lo_put(4242, 0, 'ahead!!')", "BEGIN",
        "SELECT lowrite(lo_open(4242, 131072), 'ahead!!')", "COMMIT",
    ]

    /// What is written to `entry` and to the large object.
    private func contents(_ site: Site) async throws -> [String] {
        try await site.asSuperuser(
            "SELECT name FROM entry UNION ALL SELECT encode(lo_get(4242), 'escape') ORDER BY 1"
        ).map { $0.text(0) }
    }

    /// Behind a fence that is up, with the first statement under way.
    private func underWay(_ ahead: [String], level: FenceLevel = .complete) async throws
        -> (Site, SchemaUpgrade, CensusProof, SendingAhead)
    {
        let site = try await Site.make(
            ";SELECT lo_from_bytea(4242, 'content'); ALTER LARGE OBJECT 4242 OWNER TO $app",
            level: level)
        let upgrade = site.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        try await site.asSuperuser("SELECT pg_advisory_lock(7)")
        let client = try await SendingAhead(site, ahead)
        client.send()
        try await poll {
            try await !site.asSuperuser(
                "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event = 'advisory'"
            ).isEmpty
        }
        return (site, upgrade, proof, client)
    }

    private func lower(_ upgrade: SchemaUpgrade, _ proof: CensusProof, _ frozen: [[String]])
        async throws -> DatabaseReport
    {
        var task = DatabaseTask(
            kind: .lowerFence, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
            attempt: 1, proof: proof)
        task.frozenConnections = frozen
        switch await upgrade.perform(task) {
        case .done(let report): return report
        case .failed(let failure): throw failure
        }
    }

    @Test(arguments: [FenceLevel.complete, .owner])
    func whatAFrozenProcessHasSentAheadIsNeverDone(level: FenceLevel) async throws {
        for ahead in [[Self.waits] + Self.rows, [Self.waits] + Self.objects] {
            let (site, upgrade, proof, client) = try await underWay(ahead, level: level)
            let before = try await contents(site)
            let report = try await lower(
                upgrade, proof, [["10.9.9.9:1->10.9.9.8:5432"], [client.connection]])
            #expect(
                report.lines.contains {
                    $0.hasPrefix("ended, because its client is frozen for good: 1 session of role")
                        && $0.contains(site.application)
                }, "\(report.lines)")
            #expect(report.sessions?.isOnNode == true)
            #expect(!report.lines.contains { $0.hasPrefix("older than the window") })
            try await site.asSuperuser("SELECT pg_advisory_unlock(7)")
            #expect(
                try await site.asSuperuser(
                    "SELECT FROM pg_stat_activity WHERE usename = '$app'"
                ).isEmpty)
            #expect(try await contents(site) == before)
            // Others write at once.
            let new = try await site.connect(as: "$app")
            try await new.execute("INSERT INTO entry (name) VALUES ('new')")
            client.end()
            await new.close()
            await upgrade.close()
        }
    }

    /// One that came by a unix socket, of the server's own process as the kernel knows it.
    @Test(arguments: [0, -10])
    func aSessionWithoutAPortIsKnownByItsProcessAndWhenThatBegan(isLater: Int) async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(try .guestbook())
        let old = try await site.connect(as: "$app")
        let row = try await old.query(
            "SELECT pid, extract(epoch FROM backend_start)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )[0]
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        let began = (row.integer(1) ?? 0) + Int64(isLater)
        let report = try await lower(upgrade, proof, [["postgres:\(row.text(0))@\(began).00"]])
        #expect(report.sessions?.isOnNode == (isLater == 0 ? true : nil))
        if isLater == 0 {
            await #expect(throws: PostgresError.self) { try await old.execute("SELECT 1") }
        } else {
            try await old.execute("SELECT 1")
        }
        await old.close()
        await upgrade.close()
    }

    /// Where no agent says whose sessions those are (a process on another machine), they are done: the statement that is under way is
    /// refused its writes, and those behind it are not.
    @Test func whatNobodyHasFrozenIsDone() async throws {
        let (site, upgrade, proof, client) = try await underWay([Self.waits] + Self.rows)
        // A port of some other machine's loopback network, too: not all of these are known, so it is not this one.
        let other = "127.0.0.1:1->127.0.0.1:\(site.cluster.port)"
        let report = try await lower(upgrade, proof, [[client.connection, other]])
        #expect(report.sessions?.isOnNode == nil)
        try await site.asSuperuser("SELECT pg_advisory_unlock(7)")
        try await poll { try await site.asSuperuser("SELECT FROM entry").count == 210 }
        client.end()
        await upgrade.close()
    }
}
