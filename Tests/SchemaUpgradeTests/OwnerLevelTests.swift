// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// A fence whose migrator is no superuser: what it holds, what it says that it does not, and what it leaves behind.
@Suite struct OwnerLevelTests {
    private static let window: [DatabaseTask.Kind] = [
        .preflight, .expand, .raiseFence, .census, .migrate, .lowerFence, .contract,
    ]

    /// Sequences with rights in every way that there is: the default, a chain of grants, everybody's, without the owner's own.
    private static let rights = """
        ;CREATE ROLE granter_$db LOGIN; CREATE ROLE granted_$db LOGIN; CREATE ROLE apart_$db LOGIN;
        SET ROLE $owner;
        CREATE SEQUENCE plain; CREATE SEQUENCE chained; CREATE SEQUENCE everyones; CREATE SEQUENCE odd;
        GRANT USAGE ON SEQUENCE chained TO apart_$db;
        GRANT ALL ON SEQUENCE chained TO granter_$db WITH GRANT OPTION;
        GRANT SELECT, UPDATE ON SEQUENCE everyones TO PUBLIC; GRANT USAGE ON SEQUENCE everyones TO granted_$db;
        REVOKE USAGE ON SEQUENCE odd FROM $owner; GRANT UPDATE ON SEQUENCE odd TO apart_$db WITH GRANT OPTION;
        RESET ROLE; GRANT USAGE ON SCHEMA public TO granter_$db, apart_$db;
        SET ROLE granter_$db; GRANT USAGE, SELECT ON SEQUENCE chained TO granted_$db; RESET ROLE;
        SET ROLE $owner; GRANT SELECT ON SEQUENCE chained TO $app; RESET ROLE;
        """

    @Test func aRunGoesThroughAndLeavesTheRightsAsTheyWere() async throws {
        let site = try await Site.make(OwnerLevelTests.rights, level: .owner)
        try await site.asSuperuser("GRANT granter_$db TO $migrator")
        let before = try await site.catalog()
        let application = try await site.connect(as: "$app")
        let upgrade = site.upgrade()
        for kind in OwnerLevelTests.window.prefix(4) { try await upgrade.done(kind) }
        let insert = "INSERT INTO entry (name) VALUES ('closed')"
        let error = await #expect(throws: PostgresError.self) {
            try await application.execute(insert)
        }
        #expect(error?.sqlState == "25006")
        for (role, sequence) in [
            ("granted_$db", "chained"), ("apart_$db", "chained"), ("apart_$db", "everyones"),
            ("granter_$db", "chained"), ("apart_$db", "odd"),
        ] {
            let session = try await site.connect(as: role)
            let refusal = await #expect(throws: PostgresError.self, "\(role) \(sequence)") {
                try await session.execute("SELECT nextval('\(sequence)')")
            }
            #expect(refusal?.sqlState == "42501")
            await session.close()
        }
        try await upgrade.done(.lowerFence)
        #expect(Set(try await site.catalog()).symmetricDifference(before) == [])
        try await application.execute("INSERT INTO entry (name) VALUES ('open')")
        await upgrade.close()
    }

    @Test func theReleasesMigrationsGoForwardAndBack() async throws {
        let site = try await Site.make(OwnerLevelTests.rights, level: .owner)
        try await site.asSuperuser("GRANT granter_$db TO $migrator")
        let before = try site.schemaDump()
        let upgrade = site.upgrade(try .guestbook())
        for kind in OwnerLevelTests.window.prefix(5) { try await upgrade.done(kind) }
        #expect(
            try await site.asSuperuser(
                "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'person'")[0].text(0)
                == site.owner)
        for kind in [DatabaseTask.Kind.revertMigrate, .lowerFence, .revertExpand] {
            try await upgrade.done(kind)
        }
        #expect(try site.schemaDump() == before)
        for kind in OwnerLevelTests.window { try await upgrade.done(kind, run: "r2") }
        let application = try await site.connect(as: "$app")
        try await application.execute("INSERT INTO entry (name) VALUES ('after')")
        #expect(try await site.asSuperuser("SELECT first FROM entry LIMIT 1")[0].text(0) == "Ada")
        await upgrade.close()
    }

    /// Everything that this level cannot hold, with what makes it so, and what mends it.
    struct Opening: Sendable, CustomTestStringConvertible {
        var gap: FenceGap
        var setUp: String
        /// In the message.
        var name: String
        var cure: String
        /// What comes with it.
        var besides: Set<FenceGap> = []
        var testDescription: String { "\(gap): \(name)" }
    }

    static let openings = [
        Opening(
            gap: .definitions, setUp: "GRANT $owner TO $app",
            name: "role $app may create in schema public (as $owner), owns",
            cure: "REVOKE $owner FROM $app"),
        Opening(
            gap: .definitions, setUp: "GRANT CREATE ON SCHEMA public TO $app",
            name: "may create in schema public", cure: "REVOKE CREATE ON SCHEMA public FROM $app"),
        Opening(
            gap: .definitions,
            setUp:
                "SET ROLE $owner; CREATE FUNCTION public.builds() RETURNS void LANGUAGE sql SECURITY "
                + "DEFINER AS 'CREATE TABLE public.built (n int)'; RESET ROLE",
            name: "builds() is SECURITY DEFINER",
            cure: "REVOKE EXECUTE ON ROUTINE public.builds() FROM PUBLIC"),
        Opening(
            gap: .definerFunctions,
            setUp: "CREATE FUNCTION public.draws() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS "
                + "$f$SELECT nextval('public.entry_id_seq')$f$",
            name: "draws() is SECURITY DEFINER",
            cure: "REVOKE EXECUTE ON ROUTINE public.draws() FROM PUBLIC"),
        Opening(
            gap: .sequences, setUp: "CREATE SEQUENCE public.theirs", name: "sequence public.theirs",
            cure: "ALTER SEQUENCE public.theirs OWNER TO $owner"),
        Opening(
            gap: .sequences, setUp: "GRANT pg_write_all_data TO $app",
            name: "$app is a member of pg_write_all_data",
            cure: "REVOKE pg_write_all_data FROM $app"),
        Opening(
            gap: .strangersTables, setUp: "CREATE TABLE public.theirs (n int)",
            name: "table public.theirs", cure: "ALTER TABLE public.theirs OWNER TO $owner"),
        Opening(
            gap: .createrole, setUp: "ALTER ROLE $app CREATEROLE", name: "$app may create roles",
            cure: "ALTER ROLE $app NOCREATEROLE"),
        Opening(
            gap: .migratorMembers, setUp: "GRANT $migrator TO $app",
            name: "$app may become the migrator", cure: "REVOKE $migrator FROM $app",
            besides: [.definitions]),
        Opening(
            gap: .eventTriggers,
            setUp:
                "CREATE FUNCTION public.noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
                + "CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION public.noted()",
            name: "event trigger noted", cure: "ALTER EVENT TRIGGER noted DISABLE"),
    ]

    @Test(arguments: openings)
    func whatTheFenceCannotHoldIsNamedAndHasToBeAccepted(opening: Opening) async throws {
        let site = try await Site.make(level: .owner)
        // What every database has.
        let ready: (inout SchemaUpgrade.Configuration) -> Void = { $0.accepted = [.largeObjects] }
        try await site.upgrade(change: ready).done(.preflight)
        for statement in opening.setUp.components(separatedBy: "; ") {
            try await site.asSuperuser(statement)
        }
        let failure = try await site.upgrade(change: ready).failure(.preflight)
        let found = failure.findings.filter { $0.severity == .error }
        let codes = Set([opening.gap] + opening.besides).map(\.rawValue)
        #expect(Set(found.map(\.code)) == Set(codes), "\(found)")
        #expect(
            found.contains { $0.message.contains(site.named(opening.name)) }, "\(failure.findings)")
        #expect(
            found.allSatisfy {
                $0.advice?.contains("database: {accepts: [\($0.code)]}") == true
            })
        // Both ways lead out.
        let report = try await site.upgrade {
            $0.accepted = Set([.largeObjects, opening.gap] + opening.besides)
        }.done(.preflight)
        #expect(
            report.warnings.contains {
                $0.code == opening.gap.rawValue && $0.message.contains("as the plan accepts")
            })
        #expect(report.lines.contains { $0.contains(opening.gap.rawValue) }, "\(report.lines)")
        for statement in opening.cure.components(separatedBy: "; ") {
            try await site.asSuperuser(statement)
        }
        try await site.upgrade(change: ready).done(.preflight)
    }

    /// One test for all databases of the cluster: the functions are each database's own.
    @Test func largeObjectsAreNamedUntilTheirFunctionsAreClosed() async throws {
        let site = try await Site.make(level: .owner)
        let strict = site.upgrade { $0.accepted = [] }
        let failure = try await strict.failure(.preflight)
        #expect(failure.findings.filter { $0.severity == .error }.map(\.code) == ["large-objects"])
        let advice = try #require(failure.findings.first { $0.code == "large-objects" }?.advice)
        let statement = try #require(
            advice.components(separatedBy: "; ").first?.replacing("as a superuser: ", with: ""))
        try await site.asSuperuser(statement)
        try await strict.done(.preflight)
        await strict.close()
    }

    /// What the migrator lacks, with the statement that gives it, each as preflight names it.
    @Test func whatTheMigratorLacksIsNamedWithItsGrants() async throws {
        let site = try await Site.make()
        try await site.asSuperuser("ALTER ROLE $migrator NOSUPERUSER")
        let complete = try await site.upgrade().failure(.preflight)
        #expect(
            complete.findings.first { $0.code == "migrator-rights" }?.advice?.contains(
                "database: {fence: owner}") == true)
        let upgrade = site.upgrade { $0.level = .owner }
        let failure = try await upgrade.failure(.preflight)
        let lacking = failure.findings.filter { $0.code == "migrator-rights" }
        #expect(lacking.count == 4, "\(failure.findings)")
        for finding in lacking {
            for statement in (finding.advice ?? "").components(separatedBy: "; ") {
                try await site.asSuperuser(statement)
            }
        }
        for kind in OwnerLevelTests.window { try await upgrade.done(kind) }
        await upgrade.close()
    }

    /// A schema that a superuser has made, for runs before: what makes it the migrator's is in the advice.
    @Test func theSchemaOfEarlierRunsIsTakenOver() async throws {
        let site = try await Site.make()
        let earlier = site.upgrade(try .guestbook())
        for kind in OwnerLevelTests.window { try await earlier.done(kind) }
        await earlier.close()
        try await site.asSuperuser(
            "CREATE ROLE successor_$db LOGIN; GRANT $owner, pg_read_all_stats, pg_signal_backend TO successor_$db; "
                + "GRANT CREATE ON DATABASE $db TO successor_$db")
        let later = site.upgrade(try .guestbook()) {
            $0.address = site.cluster.address(site.database, user: site.named("successor_$db"))
            $0.level = .owner
        }
        let failure = try await later.failure(.preflight, run: "r2")
        let finding = try #require(failure.findings.first { $0.code == "schema-taken" })
        let statements = try #require(finding.advice).replacing("as a superuser: ", with: "")
        try await site.asSuperuser(statements)
        for kind in OwnerLevelTests.window { try await later.done(kind, run: "r2") }
        await later.close()
    }

    @Test func aSuperuserIsHeldAtTheCompleteLevelWhateverThePlanAllows() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade {
            $0.level = .owner; $0.accepted = []
        }
        let report = try await upgrade.done(.preflight)
        #expect(report.lines.contains("the migrator is a superuser, so the fence holds everything"))
        try await upgrade.done(.raiseFence)
        #expect(try await !site.asSuperuser("SELECT FROM pg_event_trigger").isEmpty)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// A superuser's transaction cannot be ended; it is named with what ends it, and the fence goes down again.
    @Test func aSuperusersTransactionIsNamedAndNotEnded() async throws {
        let site = try await Site.make(level: .owner)
        let upgrade = site.upgrade()
        try await upgrade.done(.expand)
        let person = try await site.connect(as: "postgres")
        try await person.execute("BEGIN; UPDATE entry SET name = 'by hand' WHERE id = 1")
        let process = try await person.query("SELECT pg_backend_pid()")[0].text(0)
        let failure = try await upgrade.failure(.raiseFence)
        #expect(failure.code == "stragglers")
        #expect(
            failure.advice?.contains("SELECT pg_terminate_backend(\(process))") == true,
            "\(failure)")
        #expect(try await site.asSuperuser("SELECT FROM sluice.fence WHERE state = 'up'").isEmpty)
        try await site.asSuperuser("SELECT pg_terminate_backend(\(process))")
        try await upgrade.done(.raiseFence)
        try await upgrade.done(.census)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// Where nothing watches over definitions, a trigger that is gone is found before the migration.
    @Test func aTableThatHasLostItsTriggerStopsTheMigration() async throws {
        let site = try await Site.make("GRANT $owner TO $app", level: .owner)
        let upgrade = site.upgrade(try .guestbook())
        for kind in OwnerLevelTests.window.prefix(4) { try await upgrade.done(kind) }
        let application = try await site.connect(as: "$app")
        try await application.execute("ALTER TABLE entry DISABLE TRIGGER \"!sluice_fence\"")
        let failure = try await upgrade.failure(.migrate)
        #expect(failure.code == "fence-down")
        #expect(failure.message.contains("entry"), "\(failure)")
        for kind in [DatabaseTask.Kind.revertMigrate, .lowerFence, .revertExpand] {
            try await upgrade.done(kind)
        }
        await upgrade.close()
    }

    /// A table and a sequence that are given away in the window do not keep the fence up.
    @Test func whatIsGivenAwayInTheWindowIsNamedAtTheLift() async throws {
        let site = try await Site.make(
            "GRANT $owner TO $app; CREATE ROLE heir_$db; GRANT heir_$db TO $app; "
                + "GRANT CREATE ON SCHEMA public TO heir_$db", level: .owner)
        let upgrade = site.upgrade()
        for kind in OwnerLevelTests.window.prefix(4) { try await upgrade.done(kind) }
        let application = try await site.connect(as: "$app")
        try await application.execute("REASSIGN OWNED BY $owner TO heir_$db".site(site))
        let report = try await upgrade.done(.lowerFence)
        #expect(
            report.lines.contains { $0.contains("entry_id_seq belongs to heir_") },
            "\(report.lines)")
        try await application.execute("UPDATE entry SET name = 'open'")
        await upgrade.close()
    }

    /// A `REVOKE` lets go of a role, so it can be dropped while its rights are stored.
    @Test func aRoleThatIsDroppedInTheWindowIsForgotten() async throws {
        let site = try await Site.make(
            "CREATE ROLE gone_$db; SET ROLE $owner; GRANT USAGE ON SEQUENCE entry_id_seq TO gone_$db; RESET ROLE",
            level: .owner)
        let upgrade = site.upgrade {
            $0.tool = .init(ledger: ToolLedger(.rails), role: site.application)
        }
        for kind in OwnerLevelTests.window.prefix(4) { try await upgrade.done(kind) }
        try await site.asSuperuser(
            "REVOKE CONNECT ON DATABASE $db FROM gone_$db; DROP ROLE gone_$db")
        try await upgrade.passDone(.openPass, Secret("a"))
        try await upgrade.passDone(.closePass)
        for kind in [DatabaseTask.Kind.lowerFence, .revertExpand] { try await upgrade.done(kind) }
        let application = try await site.connect(as: "$app")
        try await application.execute("INSERT INTO entry (name) VALUES ('open')")
        await upgrade.close()
    }

    /// The application's own role owns its tables and migrates them with its tool, as Django's default is.
    @Test func aToolIsLetThroughAndWhatItMakesIsFenced() async throws {
        let site = try await Site.make("GRANT CREATE ON SCHEMA public TO $app", level: .owner)
        try await site.asSuperuser(
            "GRANT $app TO $migrator; SET ROLE $app; CREATE TABLE own (id serial PRIMARY KEY, n integer); RESET ROLE"
        )
        let before = try await site.catalog()
        let upgrade = site.upgrade {
            $0.owner = site.application
            $0.tool = .init(ledger: ToolLedger(.rails), role: site.application)
        }
        for kind in OwnerLevelTests.window.prefix(4) { try await upgrade.done(kind) }
        let secret = Secret("a")
        try await upgrade.passDone(.openPass, secret)
        let tool = try await secret.session(site)
        let stranger = try await site.connect(as: "$app")
        try await tool.execute(
            "INSERT INTO own (n) VALUES (1); CREATE TABLE made (id serial, n integer); INSERT INTO made (n) VALUES (1)"
        )
        let error = await #expect(throws: PostgresError.self) {
            try await stranger.execute("INSERT INTO own (n) VALUES (2)")
        }
        #expect(error?.sqlState == "25006")
        let report = try await upgrade.passDone(.closePass)
        #expect(report.change?.isSchemaChanged == true)
        for refused in ["INSERT INTO made (n) VALUES (2)", "UPDATE made SET n = 3"] {
            await #expect(throws: PostgresError.self) { try await stranger.execute(refused) }
            await #expect(throws: PostgresError.self) { try await tool.execute(refused) }
        }
        await tool.close()
        try await upgrade.done(.lowerFence)
        try await stranger.execute("INSERT INTO made (n) VALUES (4); DROP TABLE made")
        #expect(Set(try await site.catalog()).symmetricDifference(before) == [])
        await upgrade.close()
    }
}

extension String {
    fileprivate func site(_ site: Site) -> String { site.named(self) }

    fileprivate func components(separatedBy separator: String) -> [String] {
        split(separator: separator).map(String.init)
    }
}
