// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresTestSupport
import TestSupport
import Testing

@testable import HostWork

/// What of an old release comes after the lift is named with its session in the database.
@Suite struct LateSessionTests {
    /// psql with the variables of an action, as a cron job of the release has them.
    @Test func aLateSessionIsEndedAndSaidByThePortThatTheDatabaseSees() async throws {
        let cluster = try PostgresCluster.shared.get()
        let database = try cluster.makeDatabase()
        let app = try TestApplication("v1", mode: "")
        let processes = ReleaseProcesses(of: app.footprint, others: [])
        #expect(await processes.end() == SilenceOutcome(processes: 0))

        let session = try ChildProcess(
            ["\(cluster.programs)/psql", cluster.url(database), "-c", "SELECT pg_sleep(60)"],
            environment: ["SLUICE_SOCKET": app.footprint.socket, "PGAPPNAME": "late"])
        var port = ""
        let isThere = await eventually {
            port = (try? ask(cluster, database)) ?? ""
            return !port.isEmpty
        }
        #expect(isThere)

        let ended = await processes.end()
        let number = session.identifier
        #expect(
            ended.running == [
                "psql \(number) (was started for it; connected to 127.0.0.1:\(cluster.port) from port \(port))"
            ])
        #expect(ended.processes == 1 && ended.problem == nil)
        session.wait()
        // What was frozen before the lift and is ended by it is no late comer.
        #expect(await processes.end().running.isEmpty)
    }

    @Test func aFrozenReleaseIsKnownByThePortsThatTheDatabaseSees() async throws {
        let cluster = try PostgresCluster.shared.get()
        let database = try cluster.makeDatabase()
        let app = try TestApplication("v1", mode: "")
        let processes = ReleaseProcesses(of: app.footprint, others: [])
        let session = try ChildProcess(
            ["\(cluster.programs)/psql", cluster.url(database), "-c", "SELECT pg_sleep(60)"],
            environment: ["SLUICE_SOCKET": app.footprint.socket, "PGAPPNAME": "frozen"])
        var port = ""
        #expect(
            await eventually {
                port = (try? ask(cluster, database, "frozen")) ?? ""
                return !port.isEmpty
            })
        let frozen = await processes.freeze()
        #expect(frozen.problem == nil)
        #expect(frozen.connections == ["127.0.0.1:\(port)->127.0.0.1:\(cluster.port)"])
        #expect(await processes.end().connections.isEmpty)
        session.wait()
    }

    /// A session that came by a unix socket has no port: the server knows it by its own process.
    @Test func aFrozenReleaseIsKnownByTheServersProcessesThatItsUnixSocketsLeadTo() async throws {
        let cluster = try PostgresCluster.shared.get()
        let database = try cluster.makeDatabase()
        let app = try TestApplication("v1", mode: "")
        let processes = ReleaseProcesses(of: app.footprint, others: [])
        let session = try ChildProcess(
            ["\(cluster.programs)/psql", cluster.address(database), "-c", "SELECT pg_sleep(60)"],
            environment: ["SLUICE_SOCKET": app.footprint.socket, "PGAPPNAME": "by socket"])
        var found = ""
        #expect(
            await eventually {
                found =
                    (try? run([
                        "\(cluster.programs)/psql", cluster.address(database), "-Atc",
                        "SELECT pid, extract(epoch FROM backend_start) FROM pg_stat_activity WHERE application_name = 'by socket'",
                    ]).trimmingCharacters(in: .whitespacesAndNewlines)) ?? ""
                return !found.isEmpty
            })
        let row = found.split(separator: "|")
        let frozen = await processes.freeze()
        #expect(frozen.problem == nil)
        let said = try #require(frozen.connections.first).split(separator: "@")
        #expect(frozen.connections.count == 1 && said.first == "postgres:\(row[0])")
        let began = try #require(Double(said[1]))
        #expect(abs(began - (Double(row[1]) ?? 0)) < 2)
        #expect(await processes.end().problem == nil)
        session.wait()
    }

    @Test func whatIsFrozenAndThenEndedIsNotLate() async throws {
        let app = try TestApplication("v1", mode: "workers")
        try await app.start()
        let processes = ReleaseProcesses(of: app.footprint, others: [])
        #expect(await processes.freeze().problem == nil)
        let ended = await processes.end()
        #expect(ended.processes > 0 && ended.running.isEmpty)
    }

    /// The port of a session, as the database sees it.
    private func ask(_ cluster: PostgresCluster, _ database: String, _ name: String = "late") throws
        -> String
    {
        try run([
            "\(cluster.programs)/psql", cluster.address(database), "-Atc",
            "SELECT client_port FROM pg_stat_activity WHERE application_name = '\(name)'",
        ]).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test func addressesOfBothKindsAreRead() {
        let text = """
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 21 1 0
               1: 0700000A:A102 0500000A:1538 01 00000000:00000000 02:0000 00000000     0        0 22 2 0
               2: 00000000000000000000000001000000:A103 0000000000000000FFFF00000500000A:1538 01 0:0 00:0 0 0 0 23 1
               3: 00000000000000000000000001000000:A104 B80D0120000000000000000001000000:1538 01 0:0 00:0 0 0 0 24 1
            """
        let found = TCPConnections(parsing: Array(text.utf8)).all
        #expect(
            found.map(\.remote.description) == [
                "10.0.0.5:5432", "10.0.0.5:5432", "[2001:db8::1]:5432",
            ])
        #expect(
            found.map(\.local.port) == [41218, 41219, 41220] && found.map(\.inode) == [22, 23, 24])
        #expect(found[0].description == "10.0.0.7:41218->10.0.0.5:5432")
    }

    /// What a client has connected to a server's own port says nothing of where the server is connected to.
    @Test func whatOthersHaveOpenedIsNotCounted() {
        let text = """
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21 1 0
               1: 0700000A:1F40 0500000A:A102 01 00000000:00000000 02:0000 00000000     0        0 22 2 0
               2: 0700000A:A103 0500000A:1538 01 00000000:00000000 02:0000 00000000     0        0 23 2 0
               3: 0700000A:A104 0500000A:1538 08 00000000:00000000 02:0000 00000000     0        0 24 2 0
            """
        #expect(TCPConnections(parsing: Array(text.utf8)).all.map(\.inode) == [23])
    }
}
