// SPDX-License-Identifier: Apache-2.0

import Foundation
import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import TestSupport
import Testing
import UpgradeModel

/// Sessions of the old release on a machine without an agent: 127.0.0.9 here.
@Suite struct LateSessionTests {
    private func connect(
        _ site: Site, _ proxy: CutProxy, as role: String, application: String
    ) async throws -> PostgresConnection {
        try await .connect(
            ConnectionOptions(
                address:
                    "host=127.0.0.1 port=\(proxy.port) user=\(site.named(role)) dbname=\(site.database)",
                applicationName: application))
    }

    /// What comes through it comes from 127.0.0.9.
    private func otherMachine(_ site: Site) async throws -> CutProxy {
        let file = try await site.asSuperuser("SHOW hba_file")[0].text(0)
        let handle = try #require(FileHandle(forWritingAtPath: file))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data("host all all 127.0.0.9/32 trust\n".utf8))
        try handle.close()
        try await site.asSuperuser("SELECT pg_reload_conf()")
        let proxy = try CutProxy(server: site.cluster.port, from: 9)
        try await poll {
            (try? await connect(site, proxy, as: "$app", application: "probe").close()) != nil
        }
        return proxy
    }

    private func task(
        _ kind: DatabaseTask.Kind, attempt: Int = 1, proof: CensusProof? = nil,
        _ sessions: WindowSessions? = nil, nodes: [String]? = nil
    ) -> DatabaseTask {
        var task = DatabaseTask(
            kind: kind, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
            attempt: attempt, proof: proof)
        task.sessions = sessions
        task.addresses = nodes
        return task
    }

    private func performed(_ upgrade: SchemaUpgrade, _ task: DatabaseTask) async throws
        -> DatabaseReport
    {
        switch await upgrade.perform(task) {
        case .done(let report): return report
        case .failed(let failure): throw failure
        }
    }

    @Test
    func whatWasThereBeforeTheWindowAndLivesOrComesAgainAfterTheLiftIsNamed() async throws {
        let site = try await Site.make(
            ";CREATE ROLE report_$db LOGIN; GRANT SELECT ON entry TO report_$db;"
                + "ALTER DEFAULT PRIVILEGES FOR ROLE $owner GRANT SELECT ON TABLES TO report_$db")
        let proxy = try await otherMachine(site)
        defer { proxy.stop() }
        let upgrade = site.upgrade(try .guestbook())
        let worker = try await connect(site, proxy, as: "$app", application: "worker")
        let reader = try await connect(site, proxy, as: "report_$db", application: "backup")
        let local = try await site.connect(as: "$app")
        let cron = try await connect(site, proxy, as: "$app", application: "cron")
        let first = try #require(try await upgrade.done(.preflight).sessions)
        #expect(
            Set(first.holders.filter { $0.address == "127.0.0.9" }.map(\.application))
                .isSuperset(of: ["worker", "cron"]))
        #expect(!first.holders.contains { $0.application == "backup" })
        await cron.close()
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        let lift = try await performed(upgrade, task(.lowerFence, proof: proof))
        let before = first.merged(with: try #require(lift.sessions))
        #expect(before.since != nil)

        let again = try await connect(site, proxy, as: "$app", application: "cron")
        let new = try await connect(site, proxy, as: "$app", application: "new")
        let found = try await performed(
            upgrade, task(.contract, before, nodes: ["10.0.0.1"]))
        #expect(
            found.warnings.map(\.message) == [
                "older than the window, from a machine without an agent, so perhaps the old release's: "
                    + "1 session of role \(site.application), application worker, from 127.0.0.9",
                "begun after the lift, from a machine without an agent, like one from before the window: "
                    + "1 session of role \(site.application), application cron, from 127.0.0.9",
            ])
        // This test is on the server's own host, and its session cannot tell whether that is a node.
        let doubt = "nobody knows whether the server's own host is a node"
        #expect(found.lines.contains { $0.contains(doubt) && $0.contains(site.application) })
        // A node's are its agent's business; and of what nobody has looked at before nothing is said.
        let node = try await performed(
            upgrade, task(.contract, attempt: 2, before, nodes: ["127.0.0.9"]))
        #expect(node.warnings.isEmpty)
        // What agents have seen there says that it is one.
        var onNode = before
        onNode.isOnNode = true
        let vouched = try await performed(
            upgrade, task(.contract, attempt: 4, onNode, nodes: ["127.0.0.9"]))
        #expect(vouched.warnings.isEmpty && !vouched.lines.contains { $0.contains(doubt) })
        #expect(try await performed(upgrade, task(.contract, attempt: 3)).warnings.isEmpty)
        for session in [worker, reader, local, again, new] { await session.close() }
        await upgrade.close()
    }

    /// It has been there all the same.
    @Test
    func whatEndsWhileTheContractMigrationsAreAtWorkIsNamed() async throws {
        let site = try await Site.make()
        let proxy = try await otherMachine(site)
        defer { proxy.stop() }
        let upgrade = site.upgrade(
            try migrations(
                ("0001_late.up.sql", "-- sluice: contract\nSELECT pg_advisory_xact_lock(7)")))
        let first = try #require(try await upgrade.done(.preflight).sessions)
        let worker = try await connect(site, proxy, as: "$app", application: "worker")
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        let lift = try await performed(upgrade, task(.lowerFence, proof: proof))
        let before = first.merged(with: try #require(lift.sessions))
        try await site.asSuperuser("SELECT pg_advisory_lock(7)")
        async let contract = performed(upgrade, task(.contract, before, nodes: ["10.0.0.1"]))
        try await poll {
            try await !site.asSuperuser(
                "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event = 'advisory'"
            ).isEmpty
        }
        await worker.close()
        try await poll {
            try await site.asSuperuser(
                "SELECT FROM pg_stat_activity WHERE application_name = 'worker' AND datname = '$db'"
            ).isEmpty
        }
        try await site.asSuperuser("SELECT pg_advisory_unlock(7)")
        #expect(try await contract.warnings.contains { $0.message.contains("application worker") })
        await upgrade.close()
    }

    @Test
    func whatCannotBeLookedAtIsSaidAndStopsNothing() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade()
        let unreadable = WindowSessions(since: "no instant", holders: [])
        let report = try await performed(
            upgrade, task(.contract, unreadable, nodes: ["10.0.0.1"]))
        #expect(
            report.lines.contains {
                $0.hasPrefix("who of the old release may still be connected could not be looked at")
            }, "\(report.lines)")
        await upgrade.close()
    }
}
