// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What the owner has made before, a statement that PostgreSQL passes over, and what is said of it.
private let others: [(found: String, text: String, reason: String)] = [
    (
        "CREATE INDEX thing ON entry (id)",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS thing ON entry (name)",
        "public.thing is there and is another: CREATE INDEX thing ON public.entry USING btree (id)"
    ),
    (
        "CREATE INDEX thing ON entry (name)",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS thing ON entry (name)", "is another"
    ),
    (
        "CREATE TABLE other (name text); CREATE INDEX thing ON other (name)",
        "CREATE INDEX IF NOT EXISTS thing ON entry (name)", "is another"
    ),
    (
        "CREATE TABLE thing (a int)", "CREATE INDEX IF NOT EXISTS thing ON entry (name)",
        "public.thing is there and is another: no index"
    ),
    (
        "CREATE TABLE thing (a int)", "CREATE TABLE IF NOT EXISTS thing (a int, b text)",
        "table public.thing is there and is another: there is no column b"
    ),
    (
        "CREATE TABLE thing (a int, b varchar(10))",
        "CREATE TABLE IF NOT EXISTS public.thing (a bigserial, b varchar(20) NOT NULL)",
        "column a is of type integer, column b is of type character varying(10)"
    ),
    (
        "CREATE TABLE thing (a numeric(10,2))",
        "CREATE TABLE IF NOT EXISTS thing (a numeric(10))", "column a is of type numeric(10,2)"
    ),
    (
        "CREATE TABLE thing (a int)", "CREATE TABLE IF NOT EXISTS thing (a int NOT NULL)",
        "column a may be NULL"
    ),
    (
        "CREATE VIEW thing AS SELECT 1 AS a", "CREATE TABLE IF NOT EXISTS thing (a int)",
        "public.thing is there and is no table, but: view"
    ),
    (
        "CREATE TABLE log (at date) PARTITION BY RANGE (at); CREATE TABLE thing (at date)",
        "CREATE TABLE IF NOT EXISTS thing PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "it is no partition or child of log"
    ),
    (
        "CREATE TABLE thing (a int)", "CREATE SEQUENCE IF NOT EXISTS thing",
        "public.thing is there and is no sequence, but: table"
    ),
    (
        "CREATE TABLE thing (a int)",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS thing AS SELECT 1 AS a",
        "is no materialized view, but: table"
    ),
    (
        "CREATE TABLE thing (a text)",
        "ALTER TABLE thing ADD COLUMN IF NOT EXISTS b int, ADD COLUMN IF NOT EXISTS a jsonb",
        "table thing has it already, and another: column a is of type text"
    ),
    (
        "CREATE TABLE thing (a int)", "ALTER TABLE thing ADD COLUMN IF NOT EXISTS a int4 DEFAULT 3",
        "table thing has it already, and another: column a has no default"
    ),
    (
        "CREATE TABLE thing (a int DEFAULT 4, b text)",
        "CREATE TABLE IF NOT EXISTS thing (a int DEFAULT 3, b text)", "column a has the default 4"
    ),
    (
        "CREATE TABLE thing (a int CHECK (a > 1))",
        "CREATE TABLE IF NOT EXISTS thing (a int CONSTRAINT big CHECK (a > 2))",
        "there is no check (a > 2)"
    ),
    (
        "CREATE TABLE thing (a int, b int, PRIMARY KEY (a))",
        "CREATE TABLE IF NOT EXISTS thing (a int, b int, PRIMARY KEY (a, b))",
        "there is no primary key (a, b)"
    ),
    (
        "CREATE TABLE thing (a int, b int UNIQUE); CREATE UNIQUE INDEX part ON thing (a) WHERE b > 1",
        "CREATE TABLE IF NOT EXISTS thing (a int UNIQUE, b int)", "there is no unique key (a)"
    ),
    (
        "CREATE TABLE thing (a int REFERENCES entry)",
        "CREATE TABLE IF NOT EXISTS thing (a int REFERENCES entry (id) ON DELETE CASCADE)",
        "there is no such foreign key (a) to entry"
    ),
    (
        "CREATE TABLE thing (a int)",
        "ALTER TABLE thing ADD COLUMN IF NOT EXISTS a int REFERENCES entry",
        "there is no such foreign key (a) to entry"
    ),
    (
        "CREATE TABLE thing (a int NOT NULL)", "CREATE TABLE IF NOT EXISTS thing (a serial)",
        "column a draws no number"
    ),
]

@Test(arguments: others.indices, ["expand", "expand transaction=none", "switch"])
func ifNotExistsIsNoReasonToPassOverWhatIsAnotherThanTheStatementSays(index: Int, phase: String)
    async throws
{
    let (found, text, reason) = others[index]
    let isConcurrent = text.contains("CONCURRENTLY")
    if isConcurrent, phase == "switch" { return }
    let site = try await Site.make(
        ";SET ROLE $owner; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO $app; \(found); RESET ROLE"
    )
    let before = try await site.catalog()
    let upgrade = site.upgrade(try migrations(("0001_a.up.sql", "-- sluice: \(phase)\n\(text)")))
    // Those of the window are tried before it.
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "object-differs")
    #expect(failure.message.hasPrefix("0001_a.up.sql:2:1: IF NOT EXISTS "))
    #expect(failure.message.contains(reason), "\(failure.message)")
    #expect(failure.advice?.contains("mend the file") == true)
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
    #expect(try await site.catalog() == before)
    // The advice leads out.
    try await site.asSuperuser("ALTER TABLE thing RENAME TO former")
    if text.hasPrefix("ALTER TABLE") {
        try await site.asSuperuser("SET ROLE $owner; CREATE TABLE thing (b int); RESET ROLE")
    }
    try await upgrade.done(.expand)
    await upgrade.close()
}

/// What the owner has made before, and a statement that says the same of it, or less.
private let same: [(found: String, text: String)] = [
    (
        "CREATE INDEX thing ON entry (lower(name)) WHERE id > 5",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS thing ON public.entry USING btree (lower(name)) WHERE (id > 5)"
    ),
    (
        "CREATE INDEX thing ON entry (name DESC)",
        "CREATE INDEX IF NOT EXISTS thing ON entry (name DESC)"
    ),
    (
        "CREATE TABLE log (at date) PARTITION BY RANGE (at); CREATE TABLE one PARTITION OF log DEFAULT; CREATE INDEX thing ON ONLY log (at)",
        "CREATE INDEX IF NOT EXISTS thing ON ONLY log (at)"
    ),
    (
        """
        CREATE DOMAIN mail AS varchar(80); CREATE TYPE mood AS ENUM ('sad');
        CREATE TABLE thing (a serial PRIMARY KEY, b varchar(20)[], c numeric(10), d timestamp(3) with time zone,
            e mail, f mood NOT NULL, g interval day to second(2), h char, i bit(3), j double precision, k "char", l int[][],
            m bigint GENERATED ALWAYS AS IDENTITY, n entry, "o'o" text DEFAULT 'x' CHECK ("o'o" <> ''), later int)
        """,
        """
        CREATE TABLE IF NOT EXISTS thing (a serial PRIMARY KEY, b varchar(20)[], c decimal(10), d timestamptz(3),
            e public.mail, f mood NOT NULL, g interval day to second(2), h character(1), i bit(3), j float8, k "char", l int[],
            m int8 GENERATED ALWAYS AS IDENTITY, n entry, "o'o" text CHECK ("o'o" <> ''))
        """
    ),
    (
        "CREATE TABLE thing (a int DEFAULT 3)",
        "ALTER TABLE thing ADD COLUMN IF NOT EXISTS a int4 DEFAULT 3"
    ),
    (
        """
        CREATE TABLE thing (a int GENERATED BY DEFAULT AS IDENTITY, b text DEFAULT 'it''s, (odd' CHECK (b <> ')' AND length(b) < 10),
            c int REFERENCES entry ON DELETE CASCADE, d timestamptz DEFAULT now(), e text COLLATE "C" DEFAULT 'x', f int DEFAULT 1,
            UNIQUE (c, b), CHECK (c > f), more int)
        """,
        """
        CREATE TABLE IF NOT EXISTS thing (a serial, b text CONSTRAINT other CHECK (b <> ')' AND length(b) < 10) DEFAULT E'it\\'s, (odd',
            c int CONSTRAINT "of" REFERENCES public.entry (id) ON DELETE CASCADE DEFERRABLE, d timestamptz DEFAULT now() /* , */,
            e text DEFAULT $x$x$x$ COLLATE "C", -- now, the rest
            f int CONSTRAINT named DEFAULT (1), UNIQUE (b, c), CONSTRAINT two CHECK (c > f) NO INHERIT)
        """
    ),
    (
        "CREATE TABLE thing (a int, b int); CREATE UNIQUE INDEX one ON thing (a) INCLUDE (b)",
        "CREATE TABLE IF NOT EXISTS thing (a int UNIQUE)"
    ),
    (
        "CREATE TABLE thing (a int PRIMARY KEY, b int, FOREIGN KEY (b) REFERENCES thing)",
        "CREATE TABLE IF NOT EXISTS thing (a int PRIMARY KEY, b int REFERENCES thing (a))"
    ),
    (
        "CREATE TABLE log (at date) PARTITION BY RANGE (at); CREATE TABLE thing PARTITION OF log DEFAULT",
        "CREATE TABLE IF NOT EXISTS thing PARTITION OF log DEFAULT"
    ),
    ("CREATE SEQUENCE thing", "CREATE SEQUENCE IF NOT EXISTS thing AS int"),
    ("CREATE TABLE thing (a int)", "CREATE TABLE IF NOT EXISTS thing AS SELECT 1 AS a"),
    (
        "CREATE SCHEMA side; CREATE VIEW side.thing AS SELECT 1",
        "CREATE TABLE IF NOT EXISTS thing (a int)"
    ),
    ("SELECT 1", "CREATE TEMP TABLE IF NOT EXISTS entry (a int)"),
    ("SELECT 1", "ALTER TABLE IF EXISTS never ADD COLUMN IF NOT EXISTS a int"),
]

@Test(arguments: same.indices)
func whatIsThereAsTheStatementSaysIsPassedOverAndSaid(index: Int) async throws {
    let (found, text) = same[index]
    let site = try await Site.make(
        ";GRANT CREATE ON DATABASE $db TO $owner; SET ROLE $owner; \(found); RESET ROLE")
    let upgrade = site.upgrade(try migrations(("0001_a.up.sql", "-- sluice: expand\n\(text)")))
    let report = try await upgrade.done(.expand)
    if text.contains(" thing "), !found.contains("side."), !found.hasPrefix("SELECT") {
        #expect(
            report.lines.contains { $0.hasPrefix("0001_a.up.sql:2:1: NOTICE: ") }, "\(report.lines)"
        )
    }
    await upgrade.close()
}

@Test
func anInvalidIndexIsNeverTakenForOneThatIfNotExistsMayPassOver() async throws {
    let site = try await Site.make(";INSERT INTO entry (name) VALUES ('twice'), ('twice')")
    let owner = try await PostgresConnection.connect(
        ConnectionOptions(address: site.cluster.address(site.database), applicationName: "hand"))
    try await owner.execute(site.named("SET ROLE $owner"))
    // What a person's failed attempt leaves.
    await #expect(throws: PostgresError.self) {
        try await owner.execute("CREATE UNIQUE INDEX CONCURRENTLY entry_name ON entry (name)")
    }
    try await site.asSuperuser("DELETE FROM entry WHERE name = 'twice'")
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                "-- sluice: expand\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS entry_name ON entry (name)"
            )))
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "object-differs")
    #expect(failure.message.contains("the index public.entry_name is there and is invalid"))
    let advice = try #require(failure.advice)
    let way = try #require(advice.split(separator: ": ").last?.split(separator: ";").first)
    #expect(way == "DROP INDEX CONCURRENTLY public.entry_name")
    try await owner.execute(String(way))
    try await upgrade.done(.expand)
    #expect(
        try await site.asSuperuser(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'entry_name'::regclass")[0].isTrue(
                0))
    await owner.close()
    await upgrade.close()
}

@Test
func anIndexThatWasThereBeforeStaysThereOnTheWayBack() async throws {
    let site = try await Site.make(
        ";SET ROLE $owner; CREATE INDEX entry_name ON entry (name); RESET ROLE")
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                """
                -- sluice: expand transaction=none
                CREATE INDEX CONCURRENTLY IF NOT EXISTS entry_name ON entry (name);
                SELECT 1 / 0
                """
            ), ("0001_a.down.sql", "SELECT 1")))
    _ = try await upgrade.failure(.expand)
    try await upgrade.done(.revertExpand)
    #expect(try await site.asSuperuser("SELECT to_regclass('entry_name')")[0][0] != nil)
    await upgrade.close()
}
