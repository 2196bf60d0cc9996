// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresTestSupport
import TestSupport
import Testing

@testable import HostWork

/// What of an old release comes after the lift is named with its session in the database.
@Suite struct LateSessionTests {
    /// A release, and psql with the variables of an action, as a cron job of the release has them.
    private struct Job {
        let cluster: PostgresCluster
        let database: String
        let app: TestApplication
        let processes: ReleaseProcesses

        init() throws {
            cluster = try PostgresCluster.shared.get()
            database = try cluster.makeDatabase()
            app = try TestApplication("v1", mode: "")
            processes = ReleaseProcesses(of: app.footprint, others: [])
        }

        func start(_ name: String, at address: String) throws -> ChildProcess {
            try ChildProcess(
                ["\(cluster.programs)/psql", address, "-c", "SELECT pg_sleep(60)"],
                environment: ["SLUICE_SOCKET": app.footprint.socket, "PGAPPNAME": name])
        }

        /// What the database says of that session, once it is there; empty when it does not come.
        func row(_ name: String, _ columns: String) async -> String {
            let question =
                "SELECT \(columns) FROM pg_stat_activity WHERE application_name = '\(name)'"
            var found = ""
            _ = await eventually {
                found =
                    (try? run([
                        "\(cluster.programs)/psql", cluster.address(database), "-Atc", question,
                    ])
                    .trimmingCharacters(in: .whitespacesAndNewlines)) ?? ""
                return !found.isEmpty
            }
            return found
        }
    }

    @Test func aLateSessionIsEndedAndSaidByThePortThatTheDatabaseSees() async throws {
        let job = try Job()
        #expect(await job.processes.end() == SilenceOutcome(processes: 0))
        let session = try job.start("late", at: job.cluster.url(job.database))
        let port = await job.row("late", "client_port")
        #expect(!port.isEmpty)

        let ended = await job.processes.end()
        let number = session.identifier
        #expect(
            ended.running == [
                "psql \(number) (was started for it; connected to 127.0.0.1:\(job.cluster.port) from port \(port))"
            ])
        #expect(ended.processes == 1 && ended.problem == nil)
        session.wait()
        // What was frozen before the lift and is ended by it is no late comer.
        #expect(await job.processes.end().running.isEmpty)
    }

    @Test func aFrozenReleaseIsKnownByThePortsThatTheDatabaseSees() async throws {
        let job = try Job()
        let session = try job.start("frozen", at: job.cluster.url(job.database))
        let port = await job.row("frozen", "client_port")
        #expect(!port.isEmpty)
        let frozen = await job.processes.freeze()
        #expect(frozen.problem == nil)
        #expect(frozen.connections == ["127.0.0.1:\(port)->127.0.0.1:\(job.cluster.port)"])
        #expect(await job.processes.end().connections.isEmpty)
        session.wait()
    }

    /// A session that came by a unix socket has no port: the server knows it by its own process.
    @Test func aFrozenReleaseIsKnownByTheServersProcessesThatItsUnixSocketsLeadTo() async throws {
        let job = try Job()
        let session = try job.start("by socket", at: job.cluster.address(job.database))
        let row = await job.row("by socket", "pid, extract(epoch FROM backend_start)")
            .split(separator: "|")
        try #require(row.count == 2)
        let frozen = await job.processes.freeze()
        #expect(frozen.problem == nil)
        let said = try #require(frozen.connections.first).split(separator: "@")
        #expect(frozen.connections.count == 1 && said.first == "postgres:\(row[0])")
        let began = try #require(Double(said[1]))
        #expect(abs(began - (Double(row[1]) ?? 0)) < 2)
        #expect(await job.processes.end().problem == nil)
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
