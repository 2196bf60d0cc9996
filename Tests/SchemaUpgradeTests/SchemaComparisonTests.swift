// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import SchemaUpgrade
import Testing
import UpgradeModel

/// The schema before a run, and after everything of it is undone.
@Suite struct SchemaComparisonTests {
    private func perform(
        _ kind: DatabaseTask.Kind, _ schema: Digest?, by upgrade: SchemaUpgrade
    ) async -> DatabaseOutcome {
        var task = DatabaseTask(
            kind: kind, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1), attempt: 1)
        task.schema = schema
        return await upgrade.perform(task)
    }

    private func changes(_ outcome: DatabaseOutcome) -> [String]? {
        guard case .done(let report) = outcome else {
            Issue.record("\(outcome)")
            return nil
        }
        return report.schemaChanges
    }

    /// Up and down and the fence up and down: nothing is left, and nothing is said.
    @Test func aWholeWayBackLeavesTheSchemaAsItWas() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(
            try migrations(
                ("0001_a.up.sql", "-- sluice: expand\nALTER TABLE entry ADD COLUMN a int"),
                ("0001_a.down.sql", "ALTER TABLE entry DROP COLUMN a"),
                ("0002_b.up.sql", "CREATE TABLE b (x int); GRANT ALL ON b TO PUBLIC"),
                ("0002_b.down.sql", "DROP TABLE b")))
        let schema = try #require(try await upgrade.done(.preflight).schema)
        guard case .done = await perform(.expand, schema, by: upgrade) else {
            Issue.record("expand failed")
            return
        }
        try await upgrade.done(.raiseFence)
        try await upgrade.done(.census)
        try await upgrade.done(.migrate)
        try await upgrade.done(.revertMigrate)
        try await upgrade.done(.lowerFence)
        #expect(changes(await perform(.revertExpand, schema, by: upgrade)) == [])
        await upgrade.close()
    }

    @Test(arguments: [
        ("CREATE TABLE note (x int)", "table public.note is new"),
        ("ALTER TABLE entry ADD COLUMN late int", "table public.entry is another"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1", "function public.f() is new"),
        ("ALTER TABLE entry ALTER name SET STATISTICS 500", "table public.entry is another"),
        ("ALTER TABLE entry ALTER name SET STORAGE EXTERNAL", "table public.entry is another"),
        ("ALTER SEQUENCE entry_id_seq OWNED BY NONE", "sequence public.entry_id_seq is another"),
        ("CREATE PUBLICATION feed FOR TABLE entry", "publication feed is new"),
        ("CREATE COLLATION plain FROM \"C\"", "collation public.plain is new"),
        (
            "CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)",
            "text search configuration public.words is new"
        ),
        ("ALTER DATABASE $db SET timezone = 'Asia/Tokyo'", "settings of the database is new"),
        (
            "ALTER ROLE $app IN DATABASE $db SET work_mem = '5MB'",
            "settings of $app in the database is new"
        ),
    ])
    func whatOthersHaveChangedIsNamed(change: String, name: String) async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(.empty)
        let schema = try #require(try await upgrade.done(.preflight).schema)
        try await site.asSuperuser(change)
        guard case .failed(let failure) = await perform(.expand, schema, by: upgrade) else {
            Issue.record("it was not noticed")
            return
        }
        #expect(failure.code == "schema-changed")
        #expect(failure.message.contains(site.named(name)))
        let found = changes(await perform(.revertExpand, schema, by: upgrade))
        #expect(found == [site.named(name)])
        await upgrade.close()
    }

    /// A mended down file is read by a session of its own.
    @Test func whatIsOtherIsNamedByASessionThatHasNotLookedBefore() async throws {
        let site = try await Site.make()
        let schemas = SchemaMemory()
        let first = site.upgrade(.empty) { $0.schemas = schemas }
        let schema = try #require(try await first.done(.preflight).schema)
        await first.close()
        try await site.asSuperuser("CREATE TABLE note (x int)")
        let second = site.upgrade(.empty) { $0.schemas = schemas }
        let found = changes(await perform(.revertExpand, schema, by: second))
        #expect(found == ["table public.note is new"])
        await second.close()
    }

    /// A run that turns back in stage has no migration of its own: what a start script has done is there all the same.
    @Test func whatOthersHaveChangedBeforeTheFirstMigrationIsNamed() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(try .guestbook())
        let schema = try #require(try await upgrade.done(.preflight).schema)
        try await site.asSuperuser(
            "CREATE TABLE note (x int); ALTER TABLE entry ADD COLUMN late int")
        let found = changes(await perform(.compareSchema, schema, by: upgrade))
        #expect(found == ["table public.entry is another", "table public.note is new"])
        try await site.asSuperuser("DROP TABLE note; ALTER TABLE entry DROP COLUMN late")
        #expect(changes(await perform(.compareSchema, schema, by: upgrade)) == [])
        #expect(
            try await site.asSuperuser("SELECT FROM pg_namespace WHERE nspname = 'sluice'").isEmpty,
            "to compare is to change nothing")
        await upgrade.close()
    }

    /// Another process knows that it is another, and not what.
    @Test func aCoordinatorThatWasStartedSinceSaysThatTheSchemaIsAnother() async throws {
        let site = try await Site.make()
        let first = site.upgrade(.empty)
        let schema = try #require(try await first.done(.preflight).schema)
        await first.close()
        try await site.asSuperuser("CREATE TABLE note (x int)")
        let second = site.upgrade(.empty)
        let found = changes(await perform(.revertExpand, schema, by: second))
        #expect(found?.first?.hasPrefix("something of it") == true)
        await second.close()
    }
}
