// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import SchemaUpgrade
import Testing
import UpgradeModel

/// What a person says was done by hand is looked at, and believed when it is so.
@Suite struct ClaimTests {
    private static let up = "ALTER TABLE entry ADD COLUMN a int NOT NULL DEFAULT 0"
    private static let addsColumn = ("0001_a.up.sql", up)

    private func claim(
        _ kind: DatabaseTask.Kind, _ state: MigrationClaim.State, _ versions: String...,
        by upgrade: SchemaUpgrade
    ) async -> DatabaseOutcome {
        var task = DatabaseTask(
            kind: kind, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1), attempt: 2)
        task.claims = versions.map { MigrationClaim(version: $0, state: state) }
        return await upgrade.perform(task)
    }

    private func lines(_ outcome: DatabaseOutcome) throws -> [String] {
        guard case .done(let report) = outcome else {
            Issue.record("\(outcome)")
            return []
        }
        return report.lines
    }

    /// Of three migrations with down files that fail, all are undone by hand; the highest first, or all at once.
    @Test func whatIsUndoneByHandIsStruckFromTheLedger() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(
            try migrations(
                Self.addsColumn, ("0002_b.up.sql", "CREATE INDEX by_a ON entry (a)")))
        try await upgrade.fenced()
        try await upgrade.done(.migrate)
        let before = try await site.asSuperuser("SELECT FROM sluice.migration").count
        #expect(before == 2)
        let owner = try await site.connect(as: "$migrator")
        try await owner.execute("ALTER TABLE public.entry DROP COLUMN a")
        await owner.close()
        let outcome = await claim(.revertMigrate, .undone, "0001", "0002", by: upgrade)
        #expect(
            try lines(outcome) == [
                "0001_a was undone by hand", "0002_b was undone by hand",
                "nothing to undo in phase switch",
            ])
        #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
        try await upgrade.done(.lowerFence)
        let application = try await site.connect(as: "$app")
        try await application.execute("INSERT INTO entry (name) VALUES ('after')")
        await upgrade.close()
    }

    @Test func whatIsNotUndoneIsNotBelieved() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(try migrations(Self.addsColumn))
        try await upgrade.fenced()
        try await upgrade.done(.migrate)
        let before = try await site.catalog()
        let outcome = await claim(.revertMigrate, .undone, "0001", by: upgrade)
        guard case .failed(let failure) = outcome else {
            Issue.record("it was believed")
            return
        }
        #expect(failure.code == "migration-claim")
        #expect(failure.message.hasPrefix("0001 does not look undone: its up file fails"))
        #expect(failure.findings.first?.position?.file == "0001_a.up.sql")
        #expect(try await site.catalog() == before)
        #expect(try await site.asSuperuser("SELECT FROM sluice.migration").count == 1)
        await upgrade.close()
    }

    @Test(arguments: [true, false])
    func whatIsDoneByHandIsEnteredIntoTheLedger(hasDown: Bool) async throws {
        let site = try await Site.make()
        let files =
            [Self.addsColumn]
            + (hasDown ? [("0001_a.down.sql", "ALTER TABLE entry DROP COLUMN a")] : [])
        let upgrade = site.upgrade(
            try .read(files.map { .init(name: $0.0, text: "-- sluice: contract\n" + $0.1) }))
        try await upgrade.done(.expand)
        let early = await claim(.contract, .done, "0001", by: upgrade)
        guard case .failed(let failure) = early else {
            Issue.record("what is not done was believed")
            return
        }
        #expect(failure.code == "migration-claim")
        #expect(failure.message.hasPrefix("0001 does not look done"))
        try await site.asSuperuser(Self.up)
        let before = try await site.catalog()
        let report = try lines(await claim(.contract, .done, "0001", by: upgrade))
        #expect(report.first == "0001_a was applied by hand")
        #expect(try await site.asSuperuser("SELECT FROM sluice.migration").count == 1)
        #expect(try await site.catalog() == before)
        await upgrade.close()
    }

    @Test func anIndexThatWasBuiltByHandIsLookedAt() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(
            try migrations(
                (
                    "0001_a.up.sql",
                    "-- sluice: expand\nCREATE INDEX CONCURRENTLY by_name ON entry (name)"
                )))
        // The first time everything of Sluice's is installed.
        try await upgrade.done(.raiseFence)
        try await upgrade.done(.lowerFence)
        guard case .failed(let failure) = await claim(.expand, .done, "0001", by: upgrade) else {
            Issue.record("what is not done was believed")
            return
        }
        #expect(failure.message == "0001 is not done: there is no valid index by_name")
        try await site.asSuperuser("CREATE INDEX by_name ON entry (name)")
        let report = try lines(await claim(.expand, .done, "0001", by: upgrade))
        #expect(report.first?.hasPrefix("0001_a was applied by hand") == true)
        await upgrade.close()
    }

    /// A run that goes forward again raises its fence, takes its census and migrates a second time.
    @Test func whatWasUndoneIsDoneAgainInTheSameRun() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(
            try migrations(
                Self.addsColumn, ("0001_a.down.sql", "ALTER TABLE entry DROP COLUMN a")))
        try await upgrade.fenced()
        try await upgrade.done(.migrate)
        try await upgrade.done(.revertMigrate)
        try await upgrade.done(.lowerFence)
        try await upgrade.done(.raiseFence, attempt: 2)
        let proof = try await upgrade.done(.census, attempt: 2).census
        try await upgrade.done(.migrate, attempt: 2)
        var lift = DatabaseTask(
            kind: .lowerFence, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
            attempt: 2)
        lift.proof = proof
        #expect(try lines(await upgrade.perform(lift)).isEmpty == false)
        #expect(try await site.asSuperuser("SELECT count(a) FROM entry").count == 1)
        await upgrade.close()
    }
}
