// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What an application gets that does not know of the upgrade.
@Suite struct ReadingTests {
    private struct Answer {
        var sql: String
        /// `nil` when it goes through.
        var sqlState: String?
    }

    /// Frameworks know one error for "the database is read-only", and take 42501 for a mistake in their own rights.
    @Test func whoWritesIsToldThatTheDatabaseIsReadOnly() async throws {
        let site = try await Site.make(
            """
            ;REVOKE CONNECT ON DATABASE $db FROM PUBLIC; GRANT CONNECT ON DATABASE $db TO $app;
            CREATE TABLE numbered (id integer GENERATED ALWAYS AS IDENTITY, n integer); GRANT ALL ON numbered TO $app;
            CREATE VIEW names AS SELECT id, name FROM entry; GRANT ALL ON names TO $app;
            """)
        let upgrade = site.upgrade()
        let old = try await site.connect(as: "$app")
        try await old.execute("PREPARE p AS UPDATE entry SET name = 'x'; EXECUTE p")
        try await upgrade.done(.raiseFence)
        try await upgrade.done(.census)
        let application = try await site.connect(as: "$app")
        for answer in [
            Answer(sql: "INSERT INTO entry (name) VALUES ('x')", sqlState: "25006"),
            Answer(
                sql: "INSERT INTO entry (name) VALUES ('x') ON CONFLICT DO NOTHING",
                sqlState: "25006"),
            Answer(sql: "INSERT INTO numbered (n) VALUES (1)", sqlState: "25006"),
            Answer(sql: "INSERT INTO names (name) VALUES ('x')", sqlState: "25006"),
            Answer(sql: "UPDATE entry SET name = 'x' WHERE id = 1", sqlState: "25006"),
            Answer(sql: "DELETE FROM entry WHERE id = -1", sqlState: "25006"),
            Answer(sql: "CREATE TEMPORARY TABLE t (x integer)", sqlState: "25006"),
            // Nothing but its ACL stands before a sequence.
            Answer(sql: "SELECT nextval('entry_id_seq')", sqlState: "42501"),
            Answer(sql: "SELECT last_value FROM entry_id_seq"),
            Answer(sql: "SELECT * FROM entry WHERE id = 1"),
            Answer(sql: "SELECT * FROM entry WHERE id = 1 FOR UPDATE"),
            Answer(sql: "SELECT * FROM entry WHERE id = 1 FOR SHARE SKIP LOCKED"),
        ] {
            do {
                try await application.execute(answer.sql)
                #expect(answer.sqlState == nil, "\(answer.sql)")
            } catch let error as PostgresError {
                #expect(error.sqlState == answer.sqlState, "\(answer.sql): \(error)")
            }
        }
        let error = await #expect(throws: PostgresError.self) { try await old.execute("EXECUTE p") }
        #expect(error?.sqlState == "25006")
        try await upgrade.done(.lowerFence)
        for session in [application, old] {
            try await session.execute("INSERT INTO entry (name) VALUES ('after')")
            await session.close()
        }
        await upgrade.close()
    }

    /// pgbouncer's documented `auth_query` function, and others that read what only a superuser may: in plpgsql and SQL, with
    /// declarations, labels, comments and options in front.
    @Test func functionsThatLoginsDependOnGoOnReading() async throws {
        let bodies = [
            (
                "plpgsql",
                "BEGIN RETURN QUERY SELECT usename::text, passwd::text FROM pg_catalog.pg_shadow WHERE usename = i; END;"
            ),
            (
                "plpgsql",
                "DECLARE n name := i; BEGIN RETURN QUERY SELECT usename::text, passwd::text FROM pg_shadow WHERE usename = n; END"
            ),
            (
                "plpgsql",
                "#variable_conflict use_column\n-- begin here\n/* DECLARE */ <<top>>\ndeclare n name := i; begin "
                    + "return query select usename::text, passwd::text from pg_shadow where usename = top.n; end top; -- done"
            ),
            ("sql", "SELECT usename::text, passwd::text FROM pg_shadow WHERE usename = i"),
            ("sql", "-- who\nSELECT usename::text, passwd::text FROM pg_shadow WHERE usename = i;"),
        ]
        let functions = bodies.enumerated().map { index, body in
            """
            CREATE FUNCTION lookup_\(index)(i text) RETURNS TABLE (u text, p text) LANGUAGE \(body.0) SECURITY DEFINER
                SET search_path = pg_catalog AS $f$\(body.1)$f$;
            """
        }
        let site = try await Site.make(
            ";" + functions.joined()
                + """
                CREATE FUNCTION draws() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS
                    $f$BEGIN RETURN nextval('public.entry_id_seq'); END$f$;
                CREATE FUNCTION catches() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS
                    $f$BEGIN RETURN public.draws(); EXCEPTION WHEN OTHERS THEN
                    BEGIN SET LOCAL transaction_read_only = off; EXCEPTION WHEN OTHERS THEN NULL; END;
                    RETURN nextval('public.entry_id_seq'); END$f$;
                """)
        let before = try (await site.catalog(), site.schemaDump())
        let report = try await site.upgrade().done(.preflight)
        if site.cluster.version >= 16 {
            #expect(
                !report.warnings.contains { $0.code == "definer-function" }, "\(report.warnings)")
        }
        let upgrade = site.upgrade()
        try await upgrade.done(.raiseFence)
        try await upgrade.done(.census)
        let last = try await site.asSuperuser("SELECT last_value FROM entry_id_seq")[0].text(0)
        for _ in 0..<2 {
            let pooler = try await site.connect(as: "$app")
            for index in bodies.indices {
                let rows = try await pooler.query(
                    "SELECT u FROM lookup_\(index)($1)", [site.application])
                #expect(rows.map { $0.text(0) } == [site.application])
            }
            for call in ["draws()", "catches()"] {
                await #expect(throws: PostgresError.self) {
                    try await pooler.query("SELECT \(call)")
                }
            }
            await pooler.close()
            // Also after a migration, which sees all as it is without a fence.
            try await upgrade.done(.migrate)
        }
        #expect(
            try await site.asSuperuser("SELECT last_value FROM entry_id_seq")[0].text(0) == last)
        try await upgrade.done(.lowerFence)
        let left = Set(try await site.catalog()).symmetricDifference(before.0)
        #expect(left == [])
        #expect(try site.schemaDump() == before.1)
        let pooler = try await site.connect(as: "$app")
        try await pooler.query("SELECT draws(), catches()")
        await pooler.close()
        await upgrade.close()
    }
}
