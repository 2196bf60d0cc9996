// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

@Test
func whatMigrationsCreateBelongsToTheOwnerOfTheApplicationsTablesInItsSchema() async throws {
    let site = try await Site.make(
        ";ALTER ROLE $owner SET search_path = 'shop', 'public'; CREATE SCHEMA shop AUTHORIZATION $owner"
    )
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_x.up.sql",
                "CREATE TABLE theirs (id serial); GRANT SELECT ON theirs TO PUBLIC; UPDATE entry SET name = 'x'"
            ),
            ("0001_x.down.sql", "DROP TABLE theirs"))
    ) { $0.owner = nil }
    try await upgrade.fenced()
    try await upgrade.done(.migrate)
    let found = try await site.asSuperuser(
        "SELECT relnamespace::regnamespace, relowner::regrole FROM pg_class WHERE relname IN ('theirs', 'theirs_id_seq')"
    )
    #expect(found.map { $0.text(0) } == ["shop", "shop"])
    #expect(found.map { $0.text(1) } == [site.owner, site.owner])
    await upgrade.close()
}

@Test
func nothingOfSluicesIsOnTheSearchPathOfAMigrationWhateverTheMigratorIsCalled() async throws {
    let site = try await Site.make(
        ";SET ROLE $owner; CREATE TABLE migration (id int, note text); RESET ROLE; INSERT INTO migration VALUES (1, 'of the application')"
    )
    for path in ["sluice, public", "\"sluice\",public", "\"$user\", SLUICE, public"] {
        try await site.asSuperuser("ALTER ROLE $migrator SET search_path = \(path)")
        let number = path.utf8.count
        let upgrade = site.upgrade(
            try migrations(
                (
                    "00\(number)_x.up.sql",
                    "-- sluice: expand\nUPDATE migration SET note = note || '!'; CREATE TABLE t\(number) AS SELECT 1 AS a"
                )))
        try await upgrade.done(.expand)
        let place = try await site.asSuperuser(
            "SELECT relnamespace::regnamespace FROM pg_class WHERE relname = 't\(number)'")
        #expect(place[0].text(0) == "public", "\(path)")
        try await site.asSuperuser("DELETE FROM sluice.migration")
        await upgrade.close()
    }
    #expect(
        try await site.asSuperuser("SELECT note FROM migration")[0].text(0)
            == "of the application!!!")
}

@Test
func severalOwnersAreAQuestionAndThePlansWordIsTheAnswer() async throws {
    let site = try await Site.make(";CREATE TABLE strange (a int)")
    let files = try migrations(
        ("0001_x.up.sql", "-- sluice: expand\nALTER TABLE entry ADD COLUMN x int"))
    let asking = site.upgrade(files) { $0.owner = nil }
    let preflight = try await asking.failure(.preflight)
    #expect(
        preflight.findings.contains {
            $0.code == "owner-unclear" && $0.advice?.contains("owner:") == true
        })
    #expect(try await asking.failure(.expand).code == "owner-unclear")
    await asking.close()
    let missing = site.upgrade(files) { $0.owner = "nobody at all" }
    #expect(try await missing.failure(.expand).code == "owner-missing")
    await missing.close()
    let told = site.upgrade(files) { $0.owner = site.owner }
    try await told.done(.expand)
    await told.close()
}

@Test
func aMigrationHasNoSuperusersRightsAndRESETROLELeadsToNone() async throws {
    let site = try await Site.make(";GRANT pg_monitor TO $owner")
    for text in [
        "CREATE ROLE intruder_$db SUPERUSER", "SELECT pg_read_file('PG_VERSION')",
        "SELECT lo_import('/etc/hostname')", "RESET ROLE; SELECT pg_read_file('PG_VERSION')",
        "SET ROLE pg_monitor; RESET ROLE; SELECT pg_read_file('PG_VERSION')",
        "SET ROLE postgres; SELECT 1", "SET ROLE NONE; CREATE ROLE intruder_$db LOGIN",
    ] {
        let upgrade = site.upgrade(
            try migrations(("0001_x.up.sql", "-- sluice: expand\n" + site.named(text))))
        #expect(try await upgrade.failure(.expand).code == "sql", "\(text)")
        await upgrade.close()
    }
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_x.up.sql",
                "-- sluice: expand\nSET ROLE pg_monitor; RESET ROLE; ALTER TABLE entry ADD COLUMN x int"
            )))
    try await upgrade.done(.expand)
    await upgrade.close()
}

@Test(arguments: [
    (
        "CREATE TABLE lonely (a int); REVOKE ALL ON lonely FROM PUBLIC, $app",
        "ON public.lonely TO"
    ),
    (
        "CREATE VIEW lonely AS SELECT 1 AS a; REVOKE ALL ON lonely FROM $app",
        "ON public.lonely TO"
    ),
    ("CREATE SEQUENCE lonely", "GRANT USAGE ON SEQUENCE public.lonely TO"),
    (
        "CREATE TABLE full_one (id serial); GRANT INSERT ON full_one TO $app",
        "ON SEQUENCE public.full_one_id_seq TO"
    ),
])
func aNewRelationThatNoApplicationMayUseStopsTheMigrationWithTheStatement(
    text: String, advice: String
) async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(("0001_x.up.sql", "-- sluice: expand\n" + site.named(text))))
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "migration-rights")
    #expect(failure.advice?.contains(advice) == true)
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
    await upgrade.close()
    let meant = site.upgrade(
        try migrations(
            (
                "0001_x.up.sql",
                "-- sluice: expand private=lonely,full_one_id_seq\n" + site.named(text)
            )))
    try await meant.done(.expand)
    await meant.close()
}

@Test
func whatAnApplicationOwnsInheritsOrMayUseByColumnOrIdentityIsUsable() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_x.up.sql",
                site.named(
                    """
                    -- sluice: expand
                    CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY, x int);
                    REVOKE ALL ON a FROM $app; GRANT INSERT (x) ON a TO $app;
                    CREATE TEMP TABLE b (x int);
                    CREATE TABLE c (x int) PARTITION BY LIST (x); CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1);
                    """)
            )))
    try await upgrade.done(.expand)
    await upgrade.close()
}
