// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// A database that a run goes on without: its fence stays up when the run has ended, and the next run that names it takes it over.
@Suite struct LeftOutTests {
    private func files(_ up: String) throws -> MigrationSet {
        try migrations(
            ("0001_flag.up.sql", "-- sluice: expand\nALTER TABLE entry ADD COLUMN flag boolean;"),
            ("0001_flag.down.sql", "ALTER TABLE entry DROP COLUMN flag;"),
            ("0002_more.up.sql", "-- sluice: expand\nALTER TABLE entry ADD COLUMN more integer;"),
            ("0002_more.down.sql", "ALTER TABLE entry DROP COLUMN more;"),
            ("0003_note.up.sql", up),
            ("0003_note.down.sql", "ALTER TABLE entry DROP COLUMN note;"))
    }

    private let good = "ALTER TABLE entry ADD COLUMN note text;"

    /// A site whose data its migration does not like, left out by the run `r1`.
    private func leftOut(_ level: FenceLevel = .complete) async throws -> Site {
        let site = try await Site.make(level: level)
        let bad = "ALTER TABLE entry ADD COLUMN note text; SELECT 1 / (count(*) - 10) FROM entry;"
        let first = site.upgrade(
            try migrations(
                (
                    "0001_flag.up.sql",
                    "-- sluice: expand\nALTER TABLE entry ADD COLUMN flag boolean;"
                ),
                ("0001_flag.down.sql", "ALTER TABLE entry DROP COLUMN flag;"),
                ("0003_note.up.sql", "-- sluice: switch trial=none\n" + bad)))
        for kind in [DatabaseTask.Kind.preflight, .expand, .raiseFence, .census] {
            try await first.done(kind)
        }
        let failure = try await first.failure(.migrate)
        #expect(failure.code == "sql" && failure.effect == .none)
        let left = try await first.done(.leaveOut)
        #expect(
            left.lines == [
                "the fence stays up; the next run that names this database takes it over"
            ])
        await first.close()
        return site
    }

    private func isRefused(_ site: Site) async throws -> Bool {
        let application = try await site.connect(as: "$app")
        var refusal: String?
        do {
            // It draws no number: beside a member of pg_write_all_data on this server nobody may.
            try await application.execute("UPDATE entry SET name = 'x' WHERE id = -1")
        } catch { refusal = "\(error)" }
        await application.close()
        if let refusal { #expect(refusal.contains("read-only while an upgrade runs")) }
        return refusal != nil
    }

    private func lower(
        _ upgrade: SchemaUpgrade, _ run: String, epoch: Int64, _ proof: CensusProof?
    ) async -> DatabaseOutcome {
        await upgrade.perform(
            DatabaseTask(
                kind: .lowerFence, run: RunIdentifier(unchecked: run),
                epoch: Epoch(rawValue: epoch), attempt: 1, proof: proof))
    }

    @Test(arguments: [FenceLevel.complete, .owner])
    func theNextRunTakesTheFenceOverMigratesWhatIsLeftAndLowersIt(level: FenceLevel) async throws {
        let site = try await leftOut(level)
        #expect(try await isRefused(site))
        let next = site.upgrade(try files(good))
        guard case .done(let looked) = await site.upgrade(try files(good)).look() else {
            Issue.record("the look finds the fence in the way")
            return
        }
        let asked = try await next.done(.preflight, epoch: 2, run: "r2")
        for report in [looked, asked] {
            #expect(report.leftOutBy == RunIdentifier(unchecked: "r1"))
            let found = try #require(report.warnings.first { $0.code == "left-out" })
            #expect(found.message.hasPrefix("run r1 has left this database out: "))
        }
        let expanded = try await next.done(.expand, epoch: 2, run: "r2")
        #expect(expanded.lines.first?.hasPrefix("took over the fence of run r1, up since ") == true)
        #expect(expanded.versions == ["0002"])
        // Whoever has left it out has no say any more.
        let old = try await next.done(.lowerFence, epoch: 2, run: "r1")
        #expect(old.lines == ["the fence of run r2 is up; left alone"])
        #expect(try await isRefused(site))
        let raised = try await next.done(.raiseFence, epoch: 2, run: "r2")
        #expect(raised.lines == ["the fence was up already"])
        let proof = try await next.done(.census, epoch: 2, run: "r2").census
        #expect(try await next.done(.migrate, epoch: 2, run: "r2").versions == ["0003"])
        guard case .done = await lower(next, "r2", epoch: 2, proof) else {
            Issue.record("the fence was not lowered")
            return
        }
        #expect(try await !isRefused(site))
        try await next.done(.contract, epoch: 2, run: "r2")
        #expect(try await site.asSuperuser("SELECT FROM sluice.stored").isEmpty)
        #expect(try await site.asSuperuser("SELECT FROM sluice.fence").isEmpty)
        await next.close()
    }

    /// The fence stays up for the release that is served; the run after it takes it over in turn.
    @Test(arguments: [FenceLevel.complete, .owner])
    func aRunThatGoesBackLeavesTheFenceForTheNextOne(level: FenceLevel) async throws {
        let site = try await leftOut(level)
        let next = site.upgrade(try files(good))
        let schema = try await next.done(.preflight, epoch: 2, run: "r2").schema
        for kind in [DatabaseTask.Kind.expand, .raiseFence, .census, .migrate, .revertMigrate] {
            try await next.done(kind, epoch: 2, run: "r2")
        }
        var back = DatabaseTask(
            kind: .revertExpand, run: RunIdentifier(unchecked: "r2"), epoch: Epoch(rawValue: 2),
            attempt: 1)
        back.schema = schema
        guard case .done(let report) = await next.perform(back) else {
            Issue.record("not undone")
            return
        }
        #expect(report.schemaChanges == [])
        #expect(try await isRefused(site))
        await next.close()
        let third = site.upgrade(try files(good))
        let found = try await third.done(.preflight, epoch: 3, run: "r3").leftOutBy
        #expect(found == RunIdentifier(unchecked: "r2"))
        await third.close()
    }

    /// What a tool has done before it was left out is not what it does in the next run.
    @Test func theToolOfTheNextRunIsComparedWithWhatItFound() async throws {
        let site = try await Site.make(
            """
            CREATE TABLE schema_migrations (version text PRIMARY KEY);
            ALTER TABLE schema_migrations OWNER TO $owner; GRANT $owner TO $app;
            """)
        let secret = Secret("a")
        func upgrade() -> SchemaUpgrade {
            site.upgrade { $0.tool = .init(ledger: ToolLedger(.rails), role: site.application) }
        }
        let first = upgrade()
        for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] { try await first.done(kind) }
        try await first.passDone(.openPass, secret)
        #expect(try await first.failure(.leaveOut).code == "fence-down")
        let tool = try await secret.session(site)
        try await tool.execute("INSERT INTO schema_migrations VALUES ('1')")
        await tool.close()
        #expect(try await first.passDone(.closePass).change?.added == ["1"])
        try await first.done(.leaveOut)
        await first.close()

        let next = upgrade()
        for kind in [DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .openPass] {
            try await next.done(kind, epoch: 2, run: "r2")
        }
        #expect(try await next.done(.closePass, epoch: 2, run: "r2").change?.isNone == true)
        await next.close()
    }

    @Test func onlyAFenceThatIsUpAndProvedIsLeftUp() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade()
        try await upgrade.done(.expand)
        #expect(try await upgrade.failure(.leaveOut).code == "fence-down")
        try await upgrade.done(.raiseFence)
        #expect(try await upgrade.failure(.leaveOut).code == "fence-down")
        try await upgrade.done(.census)
        await upgrade.close()
        // A fence that was not left up keeps every other run out.
        let other = site.upgrade()
        #expect(
            try await other.failure(.preflight, epoch: 2, run: "r2").code == "fence-held")
        #expect(try await other.failure(.raiseFence, epoch: 2, run: "r2").code == "fence-held")
        await other.close()
    }

    /// The run that has left it out turns back after all: nothing is left of its word.
    @Test func aRunThatTurnsBackLowersWhatItHasLeftOut() async throws {
        let site = try await Site.make()
        let before = try await site.catalog()
        let upgrade = site.upgrade()
        for kind in [DatabaseTask.Kind.expand, .raiseFence, .census, .leaveOut, .lowerFence] {
            try await upgrade.done(kind)
        }
        #expect(try await site.catalog() == before)
        #expect(try await !isRefused(site))
        #expect(try await site.asSuperuser("SELECT FROM sluice.stored").isEmpty)
        await upgrade.close()
    }

    @Test func aRunThatHasTakenItOverKeepsItForAsLongAsItIsAtWork() async throws {
        let site = try await leftOut()
        let first = site.upgrade(try files(good))
        let second = site.upgrade(try files(good))
        try await first.done(.expand, epoch: 2, run: "r2")
        let kept = try await second.failure(.expand, epoch: 2, run: "r3")
        #expect(kept.code == "other-run", "\(kept)")
        for upgrade in [first, second] { await upgrade.close() }
    }
}
