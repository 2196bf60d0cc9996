// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What makes preflight refuse, and the statement that has to be in its advice.
struct Obstacle: Sendable, CustomTestStringConvertible {
    var code: String
    var setUp: String
    var advice: String
    /// The role to be connected as meanwhile.
    var session: String? = nil
    var tearDown: String? = nil
    /// What the advice comes to, where it is no statement.
    var cure: String? = nil
    /// Whether the version of PostgreSQL makes no difference.
    var versions: Range<Int> = 14..<99
    var testDescription: String { "\(code): \(advice)" }
}

private let noted =
    "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS $f$BEGIN PERFORM 1$s$ END$f$"

let obstacles = [
    Obstacle(
        code: "superuser-session", setUp: "CREATE ROLE root_$db LOGIN SUPERUSER",
        advice: "ALTER ROLE root_$db NOSUPERUSER",
        session: "root_$db"),
    Obstacle(
        code: "superuser-session", setUp: "SELECT 1", advice: "a role that nobody else uses",
        session: "$migrator", cure: "SELECT 1"),
    Obstacle(
        code: "superuser-member", setUp: "CREATE ROLE root_$db SUPERUSER; GRANT root_$db TO $app",
        advice: "REVOKE root_$db FROM $app"),
    Obstacle(
        code: "createrole", setUp: "ALTER ROLE $app CREATEROLE",
        advice: "ALTER ROLE $app NOCREATEROLE"),
    Obstacle(
        code: "createrole", setUp: "CREATE ROLE group_$db CREATEROLE; GRANT group_$db TO $app",
        advice: "ALTER ROLE group_$db NOCREATEROLE"),
    Obstacle(
        code: "server-programs", setUp: "GRANT pg_execute_server_program TO $app",
        advice: "REVOKE pg_execute_server_program FROM $app"),
    Obstacle(
        code: "prepared-transactions",
        setUp:
            "BEGIN; INSERT INTO entry (name) VALUES ('prepared'); PREPARE TRANSACTION 'left_$db'",
        advice: "ROLLBACK PREPARED 'left_$db'"),
    Obstacle(
        code: "track-activities", setUp: "ALTER ROLE $app SET track_activities = off",
        advice: "ALTER ROLE $app RESET track_activities"),
    Obstacle(
        code: "subscription",
        setUp:
            "CREATE SUBSCRIPTION sub_$db CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE); "
            + "UPDATE pg_subscription SET subenabled = true, subslotname = NULL WHERE subname = 'sub_$db'",
        advice: "ALTER SUBSCRIPTION sub_$db DISABLE",
        tearDown: "UPDATE pg_subscription SET subenabled = false"),
    Obstacle(
        code: "schema-taken", setUp: "CREATE SCHEMA sluice AUTHORIZATION $app",
        advice: "rename that schema", cure: "ALTER SCHEMA sluice RENAME TO formerly"),
    Obstacle(
        code: "event-trigger",
        setUp: noted + "; CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted(); "
            + "ALTER EVENT TRIGGER noted ENABLE ALWAYS",
        advice: "ALTER EVENT TRIGGER noted ENABLE", versions: 14..<17),
    Obstacle(
        code: "event-trigger",
        setUp:
            "CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS "
            + "$f$BEGIN RAISE EXCEPTION 'DDL goes through the deploy role'$s$ END$f$; "
            + "CREATE EVENT TRIGGER guard ON ddl_command_start EXECUTE FUNCTION guard()",
        advice: "ALTER EVENT TRIGGER", cure: "ALTER EVENT TRIGGER guard DISABLE"),
    Obstacle(
        code: "publication", setUp: "CREATE PUBLICATION everything FOR ALL TABLES",
        advice:
            "BEGIN; DROP PUBLICATION everything; CREATE PUBLICATION everything FOR TABLES IN SCHEMA public; COMMIT",
        versions: 15..<99),
    Obstacle(
        code: "migrator-rights", setUp: "ALTER ROLE $migrator NOSUPERUSER",
        advice: "ALTER ROLE $migrator SUPERUSER"),
]

@Test(arguments: obstacles)
func preflightRefusesWhatTheFenceCannotCoverAndSaysTheCure(obstacle: Obstacle) async throws {
    let site = try await Site.make()
    guard obstacle.versions.contains(site.cluster.version) else { return }
    _ = try await site.upgrade().done(.preflight)
    for statement in obstacle.setUp.split(separator: "; ") {
        try await site.asSuperuser(String(statement).replacing("$s$", with: ";"))
    }
    var session: PostgresConnection?
    if let role = obstacle.session { session = try await site.connect(as: role) }
    let failure = try await site.upgrade().failure(.preflight)
    #expect(failure.code == "preflight")
    #expect(failure.effect == .none)
    let finding = failure.findings.first { $0.code == obstacle.code && $0.severity == .error }
    #expect(finding?.advice?.contains(site.named(obstacle.advice)) == true, "\(failure.findings)")
    await session?.close()
    // The advice leads out.
    for statement in (obstacle.cure ?? obstacle.advice).split(separator: "; ") {
        try await site.asSuperuser(String(statement))
    }
    if let tearDown = obstacle.tearDown { try await site.asSuperuser(tearDown) }
    try await site.upgrade().done(.preflight)
}

/// Event triggers of the application: one gives every new object to a role, one writes down who made it. They are asked about
/// what a migration does, and not about what is Sluice's own.
@Test func eventTriggersOfTheApplicationAreNotAskedAboutSluice() async throws {
    let site = try await Site.make(
        """
        ;CREATE TABLE audit (tag text, object text); GRANT INSERT ON audit TO $owner;
        CREATE FUNCTION give() RETURNS event_trigger LANGUAGE plpgsql AS $f$
        DECLARE r record;
        BEGIN
            FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
                INSERT INTO public.audit VALUES (r.command_tag, r.object_identity);
                IF r.command_tag = 'CREATE TABLE' THEN
                    EXECUTE format('ALTER TABLE %s OWNER TO $owner', r.object_identity);
                ELSIF r.command_tag = 'CREATE SCHEMA' THEN
                    EXECUTE format('ALTER SCHEMA %s OWNER TO $owner', r.object_identity);
                ELSIF r.command_tag = 'CREATE FUNCTION' THEN
                    EXECUTE format('ALTER FUNCTION %s OWNER TO $owner', r.object_identity);
                END IF;
            END LOOP;
        END $f$;
        CREATE FUNCTION gone() RETURNS event_trigger LANGUAGE plpgsql AS $f$
        BEGIN
            INSERT INTO public.audit SELECT 'dropped', object_identity FROM pg_event_trigger_dropped_objects();
        END $f$;
        CREATE EVENT TRIGGER give ON ddl_command_end EXECUTE FUNCTION give();
        CREATE EVENT TRIGGER gone ON sql_drop EXECUTE FUNCTION gone();
        """)
    for run in ["r1", "r2"] {
        let upgrade = site.upgrade(try .guestbook())
        for kind in [
            DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .migrate, .revertMigrate,
            .lowerFence, .revertExpand,
        ] {
            try await upgrade.done(kind, run: run)
        }
        await upgrade.close()
    }
    let seen = try await site.asSuperuser("SELECT DISTINCT object FROM audit").map { $0.text(0) }
    #expect(seen.contains("public.person"), "the migration's own definitions are theirs to see")
    // When a migration drops a table, it drops the table's trigger.
    let ours = seen.filter { $0.contains("sluice") && $0 != "\"!sluice_fence\" on public.person" }
    #expect(ours == [])
    let owners = try await site.asSuperuser(
        """
        SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'sluice'::regnamespace
        UNION SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'sluice'::regnamespace
        UNION SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'sluice'
        """
    ).map { $0.text(0) }
    #expect(owners == [site.migrator])
}

@Test func aTableThatIsAboutToBeVacuumedAgainstWraparoundIsNamedWithTheCure() async throws {
    let site = try await Site.make()
    let finding = { (report: DatabaseReport) in
        report.warnings.first { $0.code == "wraparound-vacuum" }
    }
    #expect(finding(try await site.upgrade().done(.preflight)) == nil)
    // As after 200,000 transactions more; its own limit is the least that there is.
    try await site.asSuperuser(
        """
        ALTER TABLE entry SET (autovacuum_freeze_max_age = 100000);
        UPDATE pg_class SET relfrozenxid = ((relfrozenxid::text::bigint + 4294967296 - 200000) % 4294967296)::text::xid
            WHERE relname = 'entry'
        """)
    let found = try #require(finding(try await site.upgrade().done(.preflight)))
    #expect(found.message.contains("entry"))
    try await site.asSuperuser(try #require(found.advice))
    #expect(finding(try await site.upgrade().done(.preflight)) == nil)
}

@Test func preflightChangesNothing() async throws {
    let site = try await Site.make()
    let before = try (await site.catalog(), site.schemaDump())
    try await site.upgrade(try .guestbook()).done(.preflight)
    #expect(try await site.catalog() == before.0)
    #expect(try site.schemaDump() == before.1)
    #expect(try await site.asSuperuser("SELECT FROM pg_namespace WHERE nspname = 'sluice'").isEmpty)
}

@Test func preflightWarnsOfWhatTheRunWillMeet() async throws {
    let site = try await Site.make(
        """
        ;CREATE FUNCTION act() RETURNS integer LANGUAGE sql PARALLEL SAFE SECURITY DEFINER AS 'SELECT 1';
        CREATE FUNCTION look() RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER AS 'SELECT 1';
        CREATE TABLE mine (n int); ALTER TABLE mine OWNER TO $app;
        """)
    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN; SELECT 1")
    try await Task.sleep(for: .milliseconds(350))
    let set = try MigrationSet.read([.init(name: "0001_x.up.sql", text: "SELECT 1")])
    let report = try await site.upgrade(set).done(.preflight)
    // Roles of other tests on the same server may be able to create roles.
    #expect(
        report.warnings.map(\.code).filter { $0 != "createrole" }.sorted() == [
            "application-owns", "definer-function", "definer-function", "long-transaction",
            "no-down-migration",
        ])
}
