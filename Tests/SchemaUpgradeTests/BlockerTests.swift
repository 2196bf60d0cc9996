// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
@testable import SchemaUpgrade
import Testing
import UpgradeModel

/// Whoever keeps a migration or a tool waiting for a lock is named, while it waits and afterwards, and nobody else.
@Suite struct BlockerTests {
    private static let other =
        ";CREATE TABLE other (n integer); CREATE ROLE other_$db LOGIN; GRANT SELECT ON other TO other_$db; "
        + "GRANT USAGE ON SCHEMA public TO other_$db"

    @Test func whoeverKeepsAMigrationWaitingIsNamed() async throws {
        let site = try await Site.make(BlockerTests.other)
        let bystander = try await site.connect(as: "other_$db")
        try await bystander.execute("BEGIN; SELECT * FROM other")
        let reader = try await site.connect(as: "$app")
        try await reader.execute("BEGIN; SELECT * FROM entry")
        let upgrade = site.upgrade(try .guestbook()) { $0.lockPatience = .seconds(3) }
        let failure = try await upgrade.failure(.expand)
        #expect(failure.code == "lock-timeout")
        #expect(
            failure.message.contains("it waited for: role \(site.application), application"),
            "\(failure.message)")
        #expect(!failure.message.contains("other_"), "\(failure.message)")
        // One that ends is named by the report of what then has taken effect.
        let patient = site.upgrade(try .guestbook()) { $0.lockPatience = .seconds(60) }
        async let outcome = patient.perform(.expand, attempt: 2)
        try await poll { await !patient.waitedFor.isEmpty }
        // Also between two attempts, when nothing waits at this moment.
        let run = RunIdentifier(unchecked: "r1")
        let waits = await patient.waits(of: run)
        #expect(waits.count == 1, "\(waits)")
        #expect(
            waits.allSatisfy {
                $0.hasPrefix("the migration waits for role \(site.application), application")
                    && $0.contains("its transaction since ") && $0.hasSuffix("SELECT")
            }, "\(waits)")
        try await reader.execute("COMMIT")
        guard case .done(let report) = await outcome else {
            Issue.record("it did not go on")
            return
        }
        #expect(
            report.lines.contains { $0.hasPrefix("had to wait for role \(site.application)") },
            "\(report.lines)")
        #expect(await patient.waits(of: run) == [])
        await patient.endWatch()
        for session in [bystander, reader] { await session.close() }
        for upgrade in [upgrade, patient] { await upgrade.close() }
    }

    @Test(arguments: FenceLevel.allCases)
    func whoeverKeptAToolWaitingIsNamed(level: FenceLevel) async throws {
        let site = try await Site.make(
            "GRANT $owner TO $app" + BlockerTests.other
                + "; GRANT SELECT ON entry TO other_$db", level: level)
        let upgrade = site.upgrade {
            $0.tool = .init(ledger: ToolLedger(.rails), role: site.application)
        }
        for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] {
            try await upgrade.done(kind)
        }
        let reader = try await site.connect(as: "other_$db")
        try await reader.execute("BEGIN; SELECT * FROM entry")
        let secret = Secret("a")
        try await upgrade.passDone(.openPass, secret)
        let tool = try await secret.session(site)
        try await tool.execute("UPDATE entry SET name = 'by the tool'")
        let hanging = Task { try? await tool.execute("ALTER TABLE entry ADD COLUMN more integer") }
        try await poll {
            try await !site.asSuperuser(
                "SELECT FROM pg_stat_activity WHERE datname = '$db' AND application_name = 'tool' AND wait_event_type = 'Lock'"
            ).isEmpty
        }
        let waits = await upgrade.waits(of: RunIdentifier(unchecked: "r1"))
        #expect(waits.count == 1, "\(waits)")
        #expect(
            waits.allSatisfy {
                $0.hasPrefix("the migration tool (process ")
                    && $0.contains(": ALTER TABLE entry) waits since 20")
                    && $0.contains(" UTC for role other_")
            }, "\(waits)")
        await upgrade.endWatch()
        let report = try await upgrade.passDone(.closePass)
        #expect(
            report.lines.contains {
                $0.hasPrefix("ended: role \(site.application), application tool")
                    && $0.contains("which waited for role other_")
            }, "\(report.lines)")
        _ = await hanging.value
        await reader.close()
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }
}
