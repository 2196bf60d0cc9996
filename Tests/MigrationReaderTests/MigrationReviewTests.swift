// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import Testing
import UpgradeModel

private func review(
    _ files: [(String, String)], servesReads: Bool = true, appliedThrough: Int? = nil
) -> [Diagnostic] {
    MigrationReview.findings(
        in: files.map { .init(name: $0.0, text: $0.1) },
        .init(servesReads: servesReads, appliedThrough: appliedThrough))
}

private func codes(_ text: String, phase: String = "switch", servesReads: Bool = true) -> [String] {
    review([("0001_a.up.sql", "-- sluice: \(phase)\n\(text)")], servesReads: servesReads).map(
        \.code)
}

@Test(arguments: [
    (
        "\\restrict aB3dE\nSELECT 1;\n\\unrestrict aB3dE\n",
        ["migration-psql:1", "migration-psql:3"]
    ),
    ("\\connect app\nSELECT 1;", ["migration-psql:1"]),
    ("SELECT 1;\n  \\copy t FROM 'x'\nSELECT 2;\n", ["migration-psql:2"]),
    (
        "CREATE TABLE t (a text);\nCOPY t (a) FROM stdin;\nx\ty\n\\.\nCOMMIT;",
        ["migration-statement:2", "migration-statement:5"]
    ),
    ("CRATE TABLE t (x int);", ["migration-syntax:1"]),
    ("BEGIN;\nSELECT 1;\nCOMMIT;", ["migration-statement:1", "migration-statement:3"]),
    ("SET standard_conforming_strings = off;\nSELECT 'it\\'s; fine';", ["migration-syntax:2"]),
    ("-- only words\n/* and more */", ["migration-empty:1"]),
    ("VACUUM ANALYZE;", ["migration-transaction:1"]),
])
func everyKindOfTextThatIsNoSQLIsFoundWithItsLineAndWhatFollowsIsReadOn(
    text: String, expected: [String]
) {
    let found = review([("0001_a.up.sql", text)]).filter { $0.severity == .error }
    #expect(found.map { "\($0.code):\($0.position?.line ?? 0)" } == expected, "\(found)")
    #expect(found.allSatisfy { $0.advice?.isEmpty == false })
}

@Test
func whatADatabaseServersAdministratorDoesIsRefusedInAMigration() {
    for text in [
        "COPY t FROM PROGRAM 'id'", "COPY t TO '/tmp/x'", "LOAD 'x'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'return 1'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x', 'y'", "CREATE EXTENSION plperlu",
        "SET SESSION AUTHORIZATION postgres", "RESET SESSION AUTHORIZATION",
        "SET TRANSACTION READ ONLY",
    ] {
        #expect(codes(text) == ["migration-statement"], "\(text)")
    }
}

@Test
func aDirectoryWithoutAMigrationIsSaid() {
    #expect(review([]).map(\.code) == ["migration-none"])
}

@Test
func whatTheOldReleasesReadersWouldMissIsSaidWhereTheyStillRead() {
    let breaking = [
        "DROP TABLE a.t", "DROP VIEW v", "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE t SET SCHEMA s",
    ]
    for text in breaking {
        #expect(codes(text) == ["breaks-old-readers"], "\(text)")
        #expect(codes(text, servesReads: false).isEmpty, "\(text)")
        #expect(codes(text, phase: "expand") == ["breaks-old-release"], "\(text)")
        #expect(codes(text, phase: "contract").isEmpty, "\(text)")
    }
    #expect(codes("ALTER TABLE t DROP COLUMN a") == ["cached-plan", "breaks-old-readers"])
    #expect(codes("CREATE TABLE t (a int); ALTER TABLE t DROP COLUMN a; DROP TABLE t").isEmpty)
}

@Test
func aPreparedSELECTThatWillFailIsSaidOnceATableWhereverSessionsLiveThroughIt() {
    for change in ["ADD COLUMN a int", "ALTER COLUMN a TYPE text"] {
        #expect(codes("ALTER TABLE t \(change)") == ["cached-plan"])
        #expect(codes("ALTER TABLE t \(change)", servesReads: false).isEmpty)
        #expect(
            codes("ALTER TABLE t \(change)", phase: "expand", servesReads: false) == ["cached-plan"]
        )
    }
    #expect(
        codes("ALTER TABLE t ADD COLUMN a int; ALTER TABLE t ADD COLUMN b int") == ["cached-plan"])
    #expect(codes("ALTER TABLE t ALTER COLUMN a SET DEFAULT 1").isEmpty)
}

@Test
func aColumnThatNoRowCanHaveIsSaidAboveAllOnTheWayBack() {
    let found = review(
        [
            ("0001_a.up.sql", "SELECT 1"),
            ("0001_a.down.sql", "ALTER TABLE t ADD COLUMN a text NOT NULL"),
        ])
    #expect(found.map(\.code) == ["not-null-without-default"])
    #expect(found.first?.position?.file == "0001_a.down.sql")
    for fine in ["NOT NULL DEFAULT ''", "GENERATED ALWAYS AS IDENTITY", ""] {
        #expect(
            !codes("ALTER TABLE t ADD COLUMN a int \(fine)").contains("not-null-without-default"))
    }
}

@Test
func aBlockThatEndsTransactionsIsToldTheFileThatItCanRunIn() {
    let block = "DO $$ BEGIN LOOP UPDATE t SET a = 1; EXIT WHEN NOT FOUND; COMMIT; END LOOP; END $$"
    #expect(codes(block) == ["migration-transaction"])
    #expect(codes(block, phase: "expand") == ["migration-transaction"])
    #expect(codes(block, phase: "expand transaction=none").isEmpty)
    #expect(codes(block, phase: "switch transaction=none") == ["migration-transaction"])
    #expect(codes("DO $$ BEGIN RAISE NOTICE 'COMMIT;'; /* COMMIT; */ END $$").isEmpty)
}

@Test
func whatOnlyANewerServerKnowsIsAWarningAndWhatFollowsIsRead() throws {
    let newer = [
        "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE RETURNING t.a",
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a int PATH '$')) AS j",
        "CREATE TABLE u (a int, CONSTRAINT n NOT NULL a)",
    ]
    for text in newer {
        let file = MigrationSet.File(name: "0001_a.up.sql", text: "SELECT 1;\n\(text);\nSELECT 2")
        #expect(
            MigrationReview.findings(in: [file], .init(servesReads: true)).map(\.code)
                == ["newer-statement"], "\(text)")
        let statements = try MigrationSet.read([file]).migrations[0].up.statements
        #expect(statements.map(\.text) == ["SELECT 1", text, "SELECT 2"])
        #expect(statements.map(\.position.line) == [1, 2, 3])
    }
}

@Test
func aNewEnumValueInTheWindowAndBackslashesInOldStringsAreSaid() {
    #expect(codes("ALTER TYPE mood ADD VALUE 'x'") == ["enum-value"])
    #expect(codes("ALTER TYPE mood ADD VALUE 'x'", phase: "expand").isEmpty)
    #expect(codes("CREATE TYPE mood AS ENUM (); ALTER TYPE mood ADD VALUE 'x'").isEmpty)
    #expect(codes("ALTER TYPE mood RENAME VALUE 'x' TO 'y'").isEmpty)
    #expect(
        codes("SET standard_conforming_strings = off; SELECT 'a\\b'") == ["migration-strings"])
}

@Test
func whatHasBeenAppliedIsNoNews() {
    #expect(review([("0002_a.up.sql", "DROP TABLE t")], appliedThrough: 2).isEmpty)
}

@Test
func aHeaderSaysPhaseTransactionWhatIsReplacedRequiredAndPrivate() throws {
    let header = try MigrationSet.read([
        .init(
            name: "0042_a.up.sql",
            text:
                "-- sluice: expand transaction=none\n--sluice: replaces=0001-0041 private=a,b\nSELECT 1"
        )
    ]).migrations[0].header
    #expect(header.phase == .expand)
    #expect(header.refusesTransaction)
    #expect(header.replaces == 1...41)
    #expect(header.privateRelations == ["a", "b"])
    #expect(header.covers(41) && !header.covers(42))
    for wrong in [
        "transaction=some", "replaces=5-2", "replaces=a", "requires=", "later=1", "expand expand",
    ] {
        #expect(codes("SELECT 1", phase: wrong).contains("migration-phase"), "\(wrong)")
    }
}

@Test
func aHeaderSaysHowRowsAreChangedInBatchesAndWhatWouldNeverEndIsRefused() throws {
    let left = "UPDATE t SET a = b WHERE id IN (SELECT id FROM t WHERE a IS NULL LIMIT 9)"
    let script = try MigrationSet.read([
        .init(
            name: "0001_a.up.sql",
            text: "-- sluice: expand repeat=100ms lag=64MB\nALTER TABLE t ADD a int;\n\(left)")
    ]).migrations[0].up
    #expect(script.batches == .init(pause: .milliseconds(100), lag: 64 << 20))
    #expect(!script.isTransactional)
    #expect(script.statements.map(\.changesRows) == [false, true])
    #expect(codes(left, phase: "expand repeat=1s").isEmpty)
    for wrong in ["repeat=often", "repeat=1s lag=much", "lag=1MB"] {
        #expect(codes(left, phase: "expand " + wrong).contains("migration-phase"), "\(wrong)")
    }
    for endless in ["UPDATE t SET a = 1", "INSERT INTO t VALUES (1)", "CREATE TABLE x (a int)"] {
        #expect(codes(endless, phase: "expand repeat=1s") == ["migration-batches"], "\(endless)")
    }
    #expect(codes(left, phase: "repeat=1s").contains("migration-transaction"))
    let down = review([
        ("0001_a.up.sql", "-- sluice: expand repeat=1s\n\(left)"),
        ("0001_a.down.sql", "-- sluice: repeat=1s\n\(left)"),
    ])
    #expect(down.map(\.code) == ["migration-batches"])
}

@Test
func fiftyThousandStatementsAreReadEachAtItsPlace() throws {
    let count = 50_000
    let text = (1...count).map { "INSERT INTO zip (code, town) VALUES ('\($0)', 'Town \($0)');\n" }
    let set = try MigrationSet.read([.init(name: "0001_a.up.sql", text: text.joined())])
    #expect(set.migrations[0].up.statements.count == count)
    #expect(set.migrations[0].up.statements[count - 1].position.line == count)
    let line = try MigrationSet.read([
        .init(name: "0001_a.up.sql", text: String(repeating: "SELECT 1;", count: count))
    ])
    #expect(line.migrations[0].up.statements[count - 1].position.column == 9 * (count - 1) + 1)
}
