// SPDX-License-Identifier: Apache-2.0

import SchemaUpgrade
import Testing
import UpgradeModel

/// The application's own event triggers, before a run.
@Suite struct EventTriggerTests {
    struct Kind: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var setUp: String
        /// Whether it refuses what migrations do.
        var refuses = false
    }

    static let kinds = [
        Kind(
            testDescription: "gives every new table to the owner",
            setUp: """
                CREATE FUNCTION give() RETURNS event_trigger LANGUAGE plpgsql AS $f$
                DECLARE r record;
                BEGIN
                    FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' LOOP
                        EXECUTE format('ALTER TABLE %s OWNER TO $owner', r.object_identity);
                    END LOOP;
                END $f$;
                CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION give()
                """),
        Kind(
            testDescription: "writes down who defines what",
            setUp: """
                CREATE TABLE audit (tag text); GRANT INSERT ON audit TO $owner;
                CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $f$
                BEGIN INSERT INTO public.audit VALUES (tg_tag); END $f$;
                CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION note()
                """),
        Kind(
            testDescription: "refuses every definition",
            setUp: """
                CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $f$
                BEGIN RAISE 'ask the administrator'; END $f$;
                CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION refuse()
                """, refuses: true),
        Kind(
            testDescription: "refuses dropped tables",
            setUp: """
                CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $f$
                BEGIN
                    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_type = 'table') THEN
                        RAISE 'ask the administrator';
                    END IF;
                END $f$;
                CREATE EVENT TRIGGER mine ON sql_drop EXECUTE FUNCTION refuse()
                """, refuses: true),
        Kind(
            testDescription: "refuses everybody but the owner of the tables",
            setUp: """
                CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $f$
                BEGIN IF current_user <> '$owner' THEN RAISE 'only the owner defines'; END IF; END $f$;
                CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION refuse()
                """),
        Kind(
            testDescription: "refuses new schemas",
            setUp: """
                CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $f$
                BEGIN RAISE 'no schema'; END $f$;
                CREATE EVENT TRIGGER mine ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION refuse()
                """),
    ]

    /// A look cannot write, so it tries nothing, names the triggers, and refuses nobody.
    @Test(arguments: kinds) func aLookNamesThemAndRefusesNothing(kind: Kind) async throws {
        let site = try await Site.make()
        try await site.asSuperuser(kind.setUp)
        guard case .done(let report) = await site.upgrade(try .guestbook()).look() else {
            Issue.record("the look refuses what it cannot know")
            return
        }
        let found = report.warnings.filter { $0.code == "event-trigger" }
        #expect(found.count == 1 && found.first?.message.contains("(mine)") == true)
        #expect(found.first?.message.contains("was not tried") == true)
    }

    /// Preflight tries what a migration does, as the role that does it, and leaves nothing behind.
    @Test(arguments: kinds) func preflightFindsThoseThatRefuseAMigration(kind: Kind) async throws {
        let site = try await Site.make()
        try await site.asSuperuser(kind.setUp)
        let before = try await site.catalog()
        if kind.refuses {
            let failure = try await site.upgrade(try .guestbook()).failure(.preflight)
            let found = failure.findings.filter { $0.code == "event-trigger" }
            #expect(found.count == 1 && found.first?.severity == .error)
            #expect(found.first?.message.contains("ask the administrator") == true)
            // The advice leads out.
            #expect(found.first?.advice?.contains("ALTER EVENT TRIGGER … DISABLE") == true)
            try await site.asSuperuser("ALTER EVENT TRIGGER mine DISABLE")
        }
        let report = try await site.upgrade(try .guestbook()).done(.preflight)
        #expect(!report.warnings.contains { $0.code == "event-trigger" })
        if !kind.refuses { #expect(try await site.catalog() == before) }
    }

    /// A migrator that is no superuser makes Sluice's schema before their eyes as well.
    @Test func ofAMigratorThatIsNoSuperuserSluicesOwnSchemaIsTriedToo() async throws {
        let site = try await Site.make(level: .owner)
        try await site.asSuperuser(try #require(Self.kinds.last).setUp)
        let failure = try await site.upgrade(try .guestbook()).failure(.preflight)
        let found = failure.findings.filter { $0.code == "event-trigger" && $0.severity == .error }
        #expect(found.map(\.message).first?.contains("refuses what Sluice does") == true)
        try await site.asSuperuser("ALTER EVENT TRIGGER mine DISABLE")
        try await site.upgrade(try .guestbook()).done(.preflight)
    }
}
