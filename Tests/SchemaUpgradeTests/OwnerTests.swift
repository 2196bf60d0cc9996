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

@Test
func aRoleThatMayNotUseTheNewTableStopsTheMigrationWithItsGrant() async throws {
    let site = try await Site.make(
        """
        ;CREATE ROLE report_$db LOGIN; CREATE ROLE readers_$db; CREATE ROLE grouped_$db LOGIN; GRANT readers_$db TO grouped_$db;
        CREATE ROLE partial_$db LOGIN; CREATE ROLE backup_$db LOGIN; GRANT pg_read_all_data TO backup_$db;
        CREATE SCHEMA shop AUTHORIZATION $owner; SET ROLE $owner; CREATE TABLE second (n integer);
        GRANT SELECT ON entry, second TO report_$db, readers_$db, backup_$db; GRANT SELECT ON entry TO partial_$db;
        GRANT SELECT, INSERT ON second TO $app;
        CREATE TABLE shop.item (n integer); GRANT SELECT, DELETE ON shop.item TO report_$db; RESET ROLE;
        """)
    for (text, words, advice) in [
        (
            "CREATE TABLE third (a int)",
            ["role report_$db may use every older table of schema public", "role grouped_$db"],
            "GRANT SELECT ON public.third TO report_$db"
        ),
        (
            "CREATE VIEW third AS SELECT 1 AS a; GRANT SELECT ON third TO readers_$db",
            ["role report_$db"], "GRANT SELECT ON public.third TO report_$db"
        ),
        (
            "CREATE TABLE shop.third (a int)",
            ["role report_$db may use every older table of schema shop"],
            "GRANT SELECT, DELETE ON shop.third TO report_$db"
        ),
    ] {
        for phase in ["-- sluice: expand\n", "-- sluice: switch\n"] {
            let upgrade = site.upgrade(
                try migrations(("0001_x.up.sql", phase + site.named(text))))
            if phase.contains("switch") {
                // The trial would find it as well.
                try await upgrade.done(.raiseFence)
                try await upgrade.done(.census)
            }
            let failure = try await upgrade.failure(
                phase.contains("switch") ? .migrate : .expand)
            #expect(failure.code == "migration-rights")
            for word in words {
                #expect(failure.message.contains(site.named(word)), "\(failure.message)")
            }
            #expect(!failure.message.contains("partial_"), "\(failure.message)")
            #expect(!failure.message.contains("backup_"), "\(failure.message)")
            #expect(failure.advice?.contains(site.named(advice)) == true, "\(failure)")
            if phase.contains("switch") { try await upgrade.done(.lowerFence) }
            await upgrade.close()
        }
    }
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_x.up.sql",
                "-- sluice: expand private=hidden\nCREATE TABLE hidden (a int); CREATE TABLE third (a int);"
                    + site.named("GRANT SELECT ON third TO report_$db, readers_$db")
            )))
    let report = try await upgrade.done(.expand)
    // By default privileges, which give less than what there is on the others.
    #expect(
        report.lines.contains {
            $0.contains(site.named("role $app may write to every older table"))
                && $0.contains(site.named("GRANT SELECT, INSERT ON public.third TO $app"))
        }, "\(report.lines)")
    await upgrade.close()
}
