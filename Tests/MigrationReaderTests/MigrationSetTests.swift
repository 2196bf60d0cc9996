// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import MigrationReader
import Testing
import UpgradeModel

private func findings(_ files: [(String, String)]) -> [Diagnostic] {
    do {
        _ = try MigrationSet.read(files.map { .init(name: $0.0, text: $0.1) })
        return []
    } catch { return error.findings }
}

@Test func migrationsAreReadInOrderWithTheirPhases() throws {
    let set = try MigrationSet.read([
        .init(name: "0010_c.up.sql", text: "-- a word\n-- sluice: contract\nSELECT 1"),
        .init(name: "0002_b.up.sql", text: "/* no header */ SELECT 1"),
        .init(name: "0001_a.up.sql", text: "--sluice:expand\nSELECT 1;"),
        .init(name: "0001_a.down.sql", text: "SELECT 2"),
    ])
    #expect(set.migrations.map(\.title) == ["0001_a", "0002_b", "0010_c"])
    #expect(set.migrations.map(\.phase) == [.expand, .switch, .contract])
    #expect(set.withoutDown.map(\.version) == ["0002", "0010"])
}

@Test(arguments: ["\n", "\r\n", "\r"], ["", "\u{FEFF}"])
func lineEndsAndAByteOrderMarkDoNotChangeWhatAFileSays(end: String, mark: String) throws {
    let lines = [
        "-- why", "", "  -- sluice: contract", "SELECT 1;", "-- two", " SELECT '\u{FEFF}é';",
    ]
    let file = MigrationSet.File(
        name: "0001_a.up.sql", text: mark + lines.joined(separator: end) + end)
    let migration = try MigrationSet.read([file]).migrations[0]
    #expect(migration.phase == .contract)
    #expect(migration.up.statements.map(\.text) == ["SELECT 1", "SELECT '\u{FEFF}é'"])
    #expect(migration.up.statements.map(\.position.line) == [4, 6])
    #expect(migration.up.statements.map(\.position.column) == [1, 2])
    // What is stored is the digest of the file as it is, so that anybody can compare it.
    #expect(migration.digest == Digest.sha256(of: file.text))
    let wrong = findings([("0001_a.up.sql", mark + "-- why\(end)-- sluice: later\(end)SELECT 1")])
    #expect(wrong.map(\.code) == ["migration-phase"])
    #expect(wrong.first?.position?.line == 2)
    let broken = findings([("0001_a.up.sql", mark + "SELECT 1;\(end) SELEKT 2")])
    #expect(broken.first?.position == .init(file: "0001_a.up.sql", line: 2, column: 2))
}

@Test func statementsAreCutWherePostgreSQLCutsThem() throws {
    let text = """
        -- sluice: switch
        CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$
        BEGIN RETURN 'a;b'; END; $body$;
        /* one; /* nested; */ */ SELECT 'it''s; fine', E'\\';', "a;b" FROM (VALUES (1)) AS "x" ("a;b");

        CREATE FUNCTION g() RETURNS integer BEGIN ATOMIC SELECT 1; SELECT 2; END;
        -- the end;
        """
    let set = try MigrationSet.read([.init(name: "0001_a.up.sql", text: text)])
    let statements = set.migrations[0].up.statements
    #expect(statements.count == 3)
    #expect(statements.map(\.position.line) == [2, 4, 6])
    #expect(statements[1].position.column == 26)
    #expect(statements[1].text.hasPrefix("SELECT 'it''s; fine'"))
    #expect(statements[2].text.hasSuffix("END"))
}

@Test func kindsOfStatementsAreToldFromTheParseTree() throws {
    func kind(_ sql: String) throws -> Statement.Kind {
        try MigrationSet.read([.init(name: "0001_a.up.sql", text: "-- sluice: expand\n" + sql)])
            .migrations[0].up.statements[0].kind
    }
    #expect(try kind("CREATE INDEX i ON t (a) /* CONCURRENTLY */") == .transactional)
    #expect(
        try kind("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s . \"t\" (a) WHERE b")
            == .createIndex(
                IndexDefinition(
                    index: QualifiedName(schema: "s", name: "i"),
                    table: QualifiedName(schema: "s", name: "t"),
                    probing:
                        "CREATE UNIQUE INDEX \"sluice probe index\" ON pg_temp.\"sluice probe\" (a) WHERE b"
                )))
    #expect(
        try kind("DROP INDEX CONCURRENTLY i")
            == .dropIndex(index: QualifiedName(schema: nil, name: "i")))
    #expect(
        try kind("ALTER TABLE t DETACH PARTITION s.p CONCURRENTLY")
            == .detachPartition(
                table: QualifiedName(schema: nil, name: "t"),
                partition: QualifiedName(schema: "s", name: "p")))
    #expect(try kind("VACUUM t") == .repeatable(isQuiet: true))
    #expect(try kind("ANALYZE t") == .transactional)
    #expect(try kind("REINDEX INDEX CONCURRENTLY i") == .repeatable(isQuiet: true))
    #expect(try kind("REINDEX INDEX i") == .transactional)
    #expect(try kind("ALTER TABLE t ADD COLUMN a integer") == .transactional)
    #expect(try kind("DROP TABLE t") == .transactional)
}

/// Files that are refused, and the finding.
let refused: [(files: [(String, String)], code: String, position: String)] = [
    ([("1_a.up.sql", "SELECT 1")], "migration-name", "1_a.up.sql:1:1"),
    ([("0001_a.sql", "SELECT 1")], "migration-name", "0001_a.sql:1:1"),
    ([("0001_../x.up.sql", "SELECT 1")], "migration-name", "0001_../x.up.sql:1:1"),
    (
        [("0001_a.up.sql", "SELECT 1"), ("0001_b.up.sql", "SELECT 1")], "migration-duplicate",
        "0001_b.up.sql:1:1"
    ),
    (
        [("0001_a.up.sql", "SELECT 1"), ("00001_a.up.sql", "SELECT 1")], "migration-duplicate",
        "0001_a.up.sql:1:1"
    ),
    (
        [("0001_a.up.sql", "SELECT 1"), ("0001_b.down.sql", "SELECT 1")], "migration-duplicate",
        "0001_b.down.sql:1:1"
    ),
    ([("0001_a.down.sql", "SELECT 1")], "migration-without-up", "0001_a.down.sql:1:1"),
    ([("0001_a.up.sql", " -- nothing\n")], "migration-empty", "0001_a.up.sql:1:1"),
    ([("0001_a.up.sql", "-- sluice: later\nSELECT 1")], "migration-phase", "0001_a.up.sql:1:1"),
    ([("0001_a.up.sql", "-- Sluice: expand\nSELECT 1")], "migration-phase", "0001_a.up.sql:1:1"),
    ([("0001_a.up.sql", "--\n-- sluice expand\nSELECT 1")], "migration-phase", "0001_a.up.sql:2:1"),
    (
        [("0001_a.up.sql", "/* sluice: contract */\nSELECT 1")], "migration-phase",
        "0001_a.up.sql:1:1"
    ),
    (
        [("0001_a.up.sql", "--\n-- sluice: expand\n-- sluice: expand\nSELECT 1")],
        "migration-phase", "0001_a.up.sql:3:1"
    ),
    ([("0001_a.up.sql", "SELECT 1;\n  é SELEKT 2")], "migration-syntax", "0001_a.up.sql:2:3"),
    ([("0001_a.up.sql", "SELECT 1;\n\n COMMIT")], "migration-statement", "0001_a.up.sql:3:2"),
    ([("0001_a.up.sql", "COPY t FROM STDIN")], "migration-statement", "0001_a.up.sql:1:1"),
    (
        [("0001_a.up.sql", "ALTER SYSTEM SET work_mem = 1")], "migration-statement",
        "0001_a.up.sql:1:1"
    ),
    ([("0001_a.up.sql", "DROP DATABASE x")], "migration-statement", "0001_a.up.sql:1:1"),
    (
        [("0001_a.up.sql", "-- sluice: expand\nCREATE INDEX CONCURRENTLY ON t (a)")],
        "migration-statement", "0001_a.up.sql:2:1"
    ),
    ([("0001_a.up.sql", "VACUUM t")], "migration-transaction", "0001_a.up.sql:1:1"),
    (
        [("0001_a.up.sql", "-- sluice: expand\nSELECT 1; VACUUM t")], "migration-transaction",
        "0001_a.up.sql:2:11"
    ),
]

@Test(arguments: refused.indices)
func whatIsWrongWithTheFilesIsSaidWithItsPlace(index: Int) {
    let found = findings(refused[index].files)
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.code == refused[index].code)
    let position = found.first?.position.map { "\($0.file):\($0.line):\($0.column)" }
    #expect(position == refused[index].position)
    #expect(found.first?.advice?.isEmpty == false)
}

@Test func allFindingsComeAtOnce() {
    let found = findings([
        ("0001_a.up.sql", "SELEKT"), ("0002_b.up.sql", "BEGIN; COMMIT"), ("x", ""),
    ])
    #expect(
        found.map(\.code) == [
            "migration-name", "migration-syntax", "migration-statement", "migration-statement",
        ])
}

@Test func theDigestOfASetKnowsEveryFile() throws {
    let one = MigrationSet.File(name: "0001_a.up.sql", text: "SELECT 1")
    let down = MigrationSet.File(name: "0001_a.down.sql", text: "SELECT 2")
    let sets = try [[], [one], [one, down], [.init(name: "0001_b.up.sql", text: "SELECT 1")]].map(
        MigrationSet.read)
    #expect(Set(sets.map(\.digest)).count == 4)
    #expect(try MigrationSet.read([down, one]).digest == sets[2].digest)
    #expect(sets[0].digest == MigrationSet.empty.digest)
}

@Test(arguments: [
    ("SET a.b = 1; SET a.c TO 'x'", ["SET a.b = 1", "SET a.c TO 'x'"]),
    ("SET SESSION a.b = 1; SET A.B = 2", ["SET A.B = 2"]),
    ("SET a.b = 1; RESET a.b; SET a.c = 1", ["SET a.c = 1"]),
    ("SET a.b = 1; SET a.b TO DEFAULT", []), ("SET a.b = 1; RESET ALL", []),
    ("SET LOCAL a.b = 1", []), ("SET ROLE someone", []), ("RESET ROLE", []),
    ("SET CONSTRAINTS ALL DEFERRED", []), ("SELECT set_config('a.b', '1', false)", []),
    ("SET TIME ZONE 'UTC'", ["SET TIME ZONE 'UTC'"]),
])
func whatAFileHasSetBeforeAStatementIsKnown(sets: String, said: [String]) throws {
    let set = try MigrationSet.read([
        .init(
            name: "0001_a.up.sql",
            text: "-- sluice: expand transaction=none\n\(sets); SELECT 1; SET a.d = 1")
    ])
    let script = set.migrations[0].up
    let statement = try #require(script.statements.first { $0.text == "SELECT 1" })
    #expect(script.settings(before: statement) == said)
}

/// With them a file has no more to do in a transaction than without.
@Test func aFileOfStatementsThatRunAloneMaySetWhatTheyNeed() {
    let text = "-- sluice: expand\nSET a.b = 1; VACUUM t"
    #expect(findings([("0001_a.up.sql", text)]).isEmpty)
}
