// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Which tables a fence has refused, and how often.
@Suite struct RefusalTests {
    private static let tables = """
        ;CREATE TABLE "Odd name" (n integer); CREATE SCHEMA shop; CREATE TABLE shop.basket (n integer);
        CREATE TABLE parted (n integer) PARTITION BY RANGE (n);
        CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
        ALTER TABLE "Odd name" OWNER TO $owner; ALTER SCHEMA shop OWNER TO $owner; ALTER TABLE shop.basket OWNER TO $owner;
        ALTER TABLE parted OWNER TO $owner; ALTER TABLE parted_low OWNER TO $owner;
        GRANT USAGE ON SCHEMA shop TO $app; GRANT ALL ON "Odd name", shop.basket, parted, parted_low TO $app
        """

    private static let counters =
        "SELECT relname FROM pg_class WHERE relnamespace = 'sluice'::regnamespace AND relname LIKE 'refused%'"

    /// - Returns: the SQLSTATE of what a statement was refused with.
    private func refusal(_ session: PostgresConnection, _ sql: String) async throws -> String? {
        do {
            try await session.execute(sql)
            return nil
        } catch let error as PostgresError { return error.sqlState }
    }

    private func table(_ name: String, _ count: Int64) -> RefusedTables.Table {
        RefusedTables.Table(name: name, statements: count)
    }

    @Test(arguments: [FenceLevel.complete, .owner], [true, false])
    func tablesThatWereRefusedAreNamedWithHowOften(level: FenceLevel, isForward: Bool) async throws
    {
        let site = try await Site.make(Self.tables, level: level)
        let upgrade = site.upgrade()
        let before = try await site.catalog()
        try await upgrade.done(.expand)
        try await upgrade.done(.raiseFence)
        let application = try await site.connect(as: "$app")
        // None draws a number: while a role of this server is a member of pg_write_all_data, as in other tests, nobody may.
        for sql in [
            "INSERT INTO entry VALUES (-1, 'x')", "UPDATE entry SET name = 'x' WHERE id = -1",
            "WITH new AS (INSERT INTO entry VALUES (-1, 'x') RETURNING id) SELECT id FROM new",
            "DELETE FROM \"Odd name\"", "INSERT INTO shop.basket SELECT generate_series(1, 100)",
            "TRUNCATE shop.basket", "INSERT INTO parted VALUES (1)",
            "INSERT INTO parted_low VALUES (1)",
            // Whoever goes on after it has held the counter all the time.
            "BEGIN; SAVEPOINT a; DELETE FROM \"Odd name\"",
        ] {
            #expect(try await refusal(application, sql) == "25006", "\(sql)")
        }
        // These come to no trigger, so nobody counts them.
        try await application.execute("ROLLBACK TO a; SELECT 1; COMMIT")
        for sql in [
            "BEGIN READ ONLY; DELETE FROM \"Odd name\"", "ROLLBACK; SELECT nextval('entry_id_seq')",
        ] + (level == .complete ? ["CREATE TEMPORARY TABLE t (n integer)"] : []) {
            _ = try await refusal(application, sql)
        }
        try await upgrade.done(.census)
        let report = try await upgrade.done(.lowerFence)
        #expect(
            report.refused
                == RefusedTables(
                    tables: [
                        table("entry", 3), table("\"Odd name\"", 2), table("shop.basket", 2),
                        table("parted", 1),
                    ], others: 1), "\(report.lines)")
        #expect(
            report.lines.contains(
                "refused while the fence was up: entry 3 times, \"Odd name\" 2 times, shop.basket 2 times, "
                    + "parted once, other tables once"), "\(report.lines)")
        // Asked again, it says the same; and nothing is left when the window is long over.
        #expect(try await upgrade.done(.lowerFence, attempt: 2).refused == report.refused)
        try await application.execute("DELETE FROM entry")
        try await upgrade.done(isForward ? .contract : .revertExpand)
        #expect(try await site.asSuperuser(Self.counters).isEmpty)
        let left = Set(try await site.catalog()).symmetricDifference(before)
        #expect(left == [], "\(left)")
        await application.close()
        await upgrade.close()
    }

    /// Whatever becomes of the counters, applications get the error that they know.
    @Test(arguments: [
        "SELECT 1",
        "ALTER SEQUENCE $counter OWNER TO $owner",
        "ALTER SEQUENCE $counter MAXVALUE 2; SELECT setval('$counter', 2)",
        "DROP SEQUENCE $counter, $rest",
        "ALTER SEQUENCE $counter RENAME TO gone",
        "CREATE TABLE sluice.t (); ALTER SEQUENCE $counter RENAME TO gone; ALTER TABLE sluice.t RENAME TO $name",
    ])
    func whatCannotBeCountedIsRefusedAllTheSame(harm: String) async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade()
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let name = try await site.asSuperuser(
            "\(Self.counters) AND relname LIKE '%\\_' || 'entry'::regclass::oid")[0].text(0)
        let rest = try await site.asSuperuser("\(Self.counters) AND relname LIKE '%\\_0'")[0].text(
            0)
        let migrator = try await site.connect(as: "$migrator")
        try await migrator.execute(
            site.named(harm).replacing("$counter", with: "sluice.\(name)")
                .replacing("$rest", with: "sluice.\(rest)").replacing("$name", with: name))
        let application = try await site.connect(as: "$app")
        for sql in ["INSERT INTO entry VALUES (-1, 'x')", "DELETE FROM entry"] {
            #expect(try await refusal(application, sql) == "25006")
        }
        try await upgrade.done(.census)
        try await upgrade.done(.lowerFence)
        try await application.execute("DELETE FROM entry")
        try await upgrade.done(.contract)
        for session in [migrator, application] { await session.close() }
        await upgrade.close()
    }

    @Test func aTableThatTheMigrationDropsIsNamedAsItWas() async throws {
        let site = try await Site.make(
            ";CREATE TABLE visit (n integer); ALTER TABLE visit OWNER TO $owner; GRANT ALL ON visit TO $app"
        )
        let upgrade = site.upgrade(
            try migrations(
                ("0001_visit.up.sql", "DROP TABLE visit; ALTER TABLE entry RENAME TO post")))
        for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] {
            try await upgrade.done(kind)
        }
        let application = try await site.connect(as: "$app")
        for sql in ["DELETE FROM visit", "DELETE FROM entry"] {
            #expect(try await refusal(application, sql) == "25006")
        }
        try await upgrade.done(.migrate)
        let refused = try await upgrade.done(.lowerFence).refused
        #expect(refused == RefusedTables(tables: [table("entry", 1), table("visit", 1)]))
        try await upgrade.done(.contract)
        await application.close()
        await upgrade.close()
    }

    /// One run counts nothing of another's, and has what a dead one has left.
    @Test func eachRunCountsItsOwn() async throws {
        let site = try await Site.make()
        let dead = site.upgrade()
        for kind in [DatabaseTask.Kind.expand, .raiseFence] {
            try await dead.done(kind, run: "r0")
        }
        let application = try await site.connect(as: "$app")
        #expect(try await refusal(application, "DELETE FROM entry") == "25006")
        try await dead.done(.lowerFence, run: "r0")
        await dead.close()
        try await poll {
            try await site.asSuperuser(
                "SELECT FROM pg_stat_activity WHERE datname = '$db' AND application_name LIKE 'sluice%'"
            ).isEmpty
        }
        let upgrade = site.upgrade()
        try await upgrade.done(.expand)
        // That run never came to its end, so this one tidies up after it.
        #expect(try await site.asSuperuser(Self.counters).count == 2)
        try await upgrade.done(.raiseFence)
        for _ in 0..<2 {
            #expect(try await refusal(application, "DELETE FROM entry") == "25006")
        }
        #expect(
            try await upgrade.done(.lowerFence).refused
                == RefusedTables(tables: [table("entry", 2)]))
        try await upgrade.done(.contract)
        #expect(try await site.asSuperuser(Self.counters).isEmpty)
        await application.close()
        await upgrade.close()
    }

    /// Those of a thousand tables that have no counter of their own share one.
    @Test func onlyTheTablesThatAreWrittenMostAreCountedByName() async throws {
        let site = try await Site.make(
            """
            ;DO $x$ BEGIN
                FOR n IN 1..220 LOOP
                    EXECUTE format('CREATE TABLE t%s (n integer); ALTER TABLE t%s OWNER TO $owner; GRANT ALL ON t%s TO $app', n, n, n);
                END LOOP;
            END $x$; INSERT INTO t220 SELECT generate_series(1, 100);
            """)
        // Sessions say what they have written when they are idle, or end.
        try await poll {
            try await !site.asSuperuser(
                "SELECT FROM pg_stat_all_tables WHERE relname = 't220' AND n_tup_ins = 100"
            ).isEmpty
        }
        let upgrade = site.upgrade()
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        #expect(try await site.asSuperuser(Self.counters).count == 201)
        let application = try await site.connect(as: "$app")
        for sql in ["DELETE FROM t220", "DELETE FROM t219", "DELETE FROM t218"] {
            #expect(try await refusal(application, sql) == "25006")
        }
        #expect(
            try await upgrade.done(.lowerFence).refused
                == RefusedTables(tables: [table("t220", 1)], others: 2))
        try await upgrade.done(.contract)
        #expect(try await site.asSuperuser(Self.counters).isEmpty)
        await application.close()
        await upgrade.close()
    }
}
