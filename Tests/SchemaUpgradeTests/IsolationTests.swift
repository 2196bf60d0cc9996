// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What a first file does to its session, and a question whose answer must not be changed by it in the second.
private let leaks: [(first: String, question: String)] = [
    ("SET client_encoding = 'LATIN1'", "'Zoë'"),
    ("SELECT pg_catalog.set_config('search_path', '', false)", "current_schema()"),
    ("SET LOCAL search_path = pg_catalog", "current_schema()"),
    ("SET standard_conforming_strings = off", "'a\\b'"),
    ("SET DateStyle = 'German, DMY'", "'03/04/2026'::date::text"),
    ("SET TimeZone = 'Asia/Tokyo'", "current_setting('TimeZone')"),
    ("SET check_function_bodies = off", "current_setting('check_function_bodies')"),
    ("SET row_security = off", "current_setting('row_security')"),
    ("SET ROLE pg_monitor", "current_user::text"),
    // Sluice's own statements are never compiled; a migration's are, as in any session.
    ("SET jit = off", "'jit ' || current_setting('jit')"),
    ("SET statement_timeout = '7s'; SET lock_timeout = '7s'", "current_setting('lock_timeout')"),
    ("SET app.tenant = 'x'", "coalesce(nullif(current_setting('app.tenant', true), ''), 'none')"),
    ("PREPARE p AS SELECT 1", "(SELECT count(*) FROM pg_prepared_statements)::text"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "(SELECT count(*) FROM pg_cursors)::text"),
    ("LISTEN news", "(SELECT count(*) FROM pg_listening_channels())::text"),
    (
        "CREATE TEMP TABLE scratch (a int); CREATE TEMP VIEW seen AS SELECT 1",
        "coalesce(to_regclass('scratch'), to_regclass('seen'))::text"
    ),
    (
        "CREATE TEMP TABLE gone (a int) ON COMMIT DROP; INSERT INTO gone VALUES (1)",
        "to_regclass('gone')::text"
    ),
    (
        "SELECT nextval('entry_id_seq')",
        "(SELECT count(*) FROM pg_sequences WHERE last_value IS NULL)::text"
    ),
    (
        "SELECT pg_advisory_lock(7)",
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND pid = pg_backend_pid())::text"
    ),
]

@Test(arguments: leaks.indices)
func whateverAFileSetsInItsSessionTheNextBeginsAsIfItWereAlone(index: Int) async throws {
    let (first, question) = leaks[index]
    let table =
        ";SET ROLE $owner; CREATE TABLE answer (value text); RESET ROLE; GRANT pg_monitor TO $owner"
    let ask = "INSERT INTO answer SELECT \(question)"
    var answers: [String?] = []
    for files in [
        [("0002_second.up.sql", ask)], [("0001_first.up.sql", first), ("0002_second.up.sql", ask)],
    ] {
        let site = try await Site.make(table)
        let upgrade = site.upgrade(try .read(files.map { .init(name: $0.0, text: $0.1) }))
        try await upgrade.fenced()
        try await upgrade.done(.migrate)
        let row = try await site.asSuperuser("SELECT value FROM answer")[0]
        // Names of roles have the database in them.
        answers.append(row[0].map { $0 == site.owner ? "owner" : $0 })
        await upgrade.close()
    }
    #expect(answers[0] == answers[1])
}

private let pair = """
    ;SET ROLE $owner;
    CREATE TABLE team (id int PRIMARY KEY, lead int NOT NULL);
    CREATE TABLE person (id int PRIMARY KEY, team int NOT NULL REFERENCES team DEFERRABLE INITIALLY DEFERRED);
    ALTER TABLE team ADD FOREIGN KEY (lead) REFERENCES person DEFERRABLE INITIALLY DEFERRED;
    CREATE TABLE badge (id int PRIMARY KEY, owner int REFERENCES person DEFERRABLE INITIALLY IMMEDIATE);
    RESET ROLE;
    """
private let seed = "INSERT INTO team VALUES (1, 10); INSERT INTO person VALUES (10, 1);"

@Test(arguments: [
    "SELECT 1", seed + "DELETE FROM person; DELETE FROM team", "SET CONSTRAINTS ALL IMMEDIATE",
    "CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)",
])
func deferredConstraintsAreDeferredInEveryFileAndSpeakAtItsEnd(first: String) async throws {
    let site = try await Site.make(pair)
    let upgrade = site.upgrade(
        try migrations(
            ("0001_first.up.sql", first), ("0002_seed.up.sql", seed),
            (
                "0003_new.up.sql",
                "CREATE TABLE new (id int REFERENCES person DEFERRABLE INITIALLY DEFERRED)"
            ),
            ("0004_use.up.sql", "INSERT INTO new VALUES (11); INSERT INTO person VALUES (11, 1)")))
    try await upgrade.fenced()
    try await upgrade.done(.migrate)
    #expect(try await site.asSuperuser("SELECT FROM person").count == 2)
    await upgrade.close()
}

@Test
func aConstraintImmediateByDefaultIsNotDeferredByAnotherFile() async throws {
    let site = try await Site.make(pair)
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_first.up.sql",
                "SET CONSTRAINTS ALL DEFERRED; INSERT INTO badge VALUES (1, NULL)"
            ),
            ("0002_badge.up.sql", "SELECT 1;\nINSERT INTO badge VALUES (2, 99);\nSELECT 2")))
    let failure = try await upgrade.failure(.expand)
    #expect(failure.message.contains("0002_badge.up.sql:2:1"))
    await upgrade.close()
}

@Test
func whatAFileBreaksIsSaidOfThatFileThoughALaterOneWouldHaveMendedIt() async throws {
    let site = try await Site.make(pair)
    let upgrade = site.upgrade(
        try migrations(
            ("0001_half.up.sql", "INSERT INTO team VALUES (1, 10)"),
            ("0002_rest.up.sql", "INSERT INTO person VALUES (10, 1)")))
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "sql")
    #expect(failure.message.hasPrefix("0001_half.up.sql:1:1"))
    await upgrade.close()
}
