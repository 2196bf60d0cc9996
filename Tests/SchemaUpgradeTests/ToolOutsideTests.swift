// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// A tool of the application's own migrates where no fence stands: before the window and after the lift.
@Suite struct ToolOutsideTests {
    private let run = RunIdentifier(unchecked: "r1")

    private func site() async throws -> (Site, SchemaUpgrade) {
        let site = try await Site.make(
            """
            CREATE TABLE schema_migrations (version text PRIMARY KEY);
            ALTER TABLE schema_migrations OWNER TO $owner;
            INSERT INTO schema_migrations VALUES ('1'); GRANT $owner TO $app;
            """)
        return (site, upgrade(site))
    }

    private func upgrade(_ site: Site) -> SchemaUpgrade {
        site.upgrade { $0.tool = .init(ledger: ToolLedger(.rails), phases: [.expand, .contract]) }
    }

    /// A session as a client of libpq opens it where `PGAPPNAME` has the name that the node gives.
    private func tool(_ site: Site) async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            ConnectionOptions(
                address: site.cluster.address(site.database, user: site.application),
                applicationName: ToolSession.name(in: run)))
    }

    private let work = """
        ALTER TABLE entry ADD COLUMN early text; INSERT INTO schema_migrations VALUES ('2')
        """

    @Test func whatItHasDoneBeforeTheWindowIsSeenAlsoAfterAWholeFence() async throws {
        let (site, upgrade) = try await site()
        #expect(try await upgrade.done(.expand).ledger == ["1"])
        #expect(try await upgrade.done(.judgeExpand).change?.isNone == true)
        let session = try await tool(site)
        try await session.execute("SET ROLE \(site.owner)")
        try await session.execute(work)
        await session.close()
        let done = try await upgrade.done(.judgeExpand)
        #expect(done.change == ToolChange(isSchemaChanged: true, added: ["2"], removed: []))
        #expect(
            done.lines == [
                "new in the tool's ledger: 2",
                "other than before the tool: table public.entry is another",
            ])
        // A fence keeps its own of what was there before, and takes that away with it.
        let fence: [DatabaseTask.Kind] = [
            .raiseFence, .census, .openPass, .settlePass, .lowerFence,
        ]
        for kind in fence { try await upgrade.done(kind) }
        #expect(try await upgrade.done(.settleExpand).change == done.change)
        try await site.asSuperuser(
            "ALTER TABLE entry DROP COLUMN early; DELETE FROM schema_migrations WHERE version = '2'"
        )
        #expect(try await upgrade.done(.judgeRevertExpand).change?.isNone == true)
        await upgrade.close()
    }

    @Test func railsGoesBackToTheHighestNumberAndNotToTheLastText() async throws {
        let (site, upgrade) = try await site()
        try await site.asSuperuser(
            """
            INSERT INTO schema_migrations VALUES
                ('9'), ('99'), ('107'), ('20260101000000'), ('20270101000000-wiki'), ('2-wiki')
            """)
        #expect(try await upgrade.done(.expand).ledger == ["20260101000000"])
        try await site.asSuperuser(
            "INSERT INTO schema_migrations VALUES ('20260301000000'), ('10-wiki'), ('9-wiki'), ('108'), ('x')"
        )
        let change = try await upgrade.done(.judgeExpand).change
        #expect(change?.added == ["x", "9-wiki", "10-wiki", "108", "20260301000000"])
        await upgrade.close()
    }

    @Test func whatItDoesAfterTheLiftIsComparedWithWhatTheWindowHasLeft() async throws {
        let (site, upgrade) = try await site()
        let window: [DatabaseTask.Kind] = [.expand, .raiseFence, .census, .lowerFence]
        for kind in window { try await upgrade.done(kind) }
        try await site.asSuperuser(work)
        #expect(try await upgrade.done(.contract).ledger == ["2"])
        #expect(try await upgrade.done(.judgeContract).change?.isNone == true)
        try await site.asSuperuser("INSERT INTO schema_migrations VALUES ('3')")
        // Asked again by the next coordinator, which keeps what was there first.
        let next = self.upgrade(site)
        #expect(try await next.done(.contract, attempt: 2).ledger == ["2"])
        let change = try await next.done(.judgeContract).change
        #expect(change == ToolChange(isSchemaChanged: false, added: ["3"], removed: []))
        for each in [upgrade, next] { await each.close() }
    }

    @Test func itsSessionsEndBeforeItIsSaidWhatTheyHaveDoneAndNobodyElsesDo() async throws {
        let (site, upgrade) = try await site()
        try await upgrade.done(.expand)
        let left = try await tool(site)
        try await left.execute("BEGIN; INSERT INTO schema_migrations VALUES ('2')")
        let application = try await site.connect(as: "$app")
        try await application.execute("BEGIN; INSERT INTO entry (name) VALUES ('Grace')")
        let report = try await upgrade.done(.judgeExpand)
        #expect(report.lines.count { $0.hasPrefix("ended: role \(site.application)") } == 1)
        #expect(report.change?.isNone == true)
        await #expect(throws: PostgresError.self) { try await left.execute("COMMIT") }
        try await application.execute("COMMIT")
        await application.close()
        await upgrade.close()
    }

    @Test func whatNobodyHasKeptIsNotCalledUnchanged() async throws {
        let (site, upgrade) = try await site()
        try await upgrade.done(.expand)
        try await site.asSuperuser("DELETE FROM sluice.tool_before")
        let report = try await upgrade.done(.judgeExpand)
        #expect(report.change?.isNone == false)
        #expect(report.lines == ["what was there before the tool is not known any more"])
        await upgrade.close()
    }

    @Test func aPreviewIsReadLikeAMigrationFileAndItsErrorsStopNothing() async throws {
        let (_, upgrade) = try await site()
        var task = DatabaseTask(
            kind: .readPreview, run: run, epoch: Epoch(rawValue: 1), attempt: 1)
        task.preview = "BEGIN;\nALTER TABLE entry DROP COLUMN name;\nCOMMIT;\n"
        guard case .done(let report) = await upgrade.perform(task) else {
            Issue.record("not done")
            return
        }
        #expect(report.lines.last == "ALTER TABLE entry DROP COLUMN name")
        #expect(report.warnings.map(\.code).contains("breaks-old-readers"))
        #expect(report.warnings.allSatisfy { $0.severity == .warning })
        await upgrade.close()
    }
}
