// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What the node of a tool makes.
struct Secret {
    let text: String
    let digest: Digest?
    var options: String { "-c sluice.pass=\(text) -c default_transaction_read_only=off" }

    /// SHA-256 of 64 times the letter.
    private static let digests: [Character: String] = [
        "a": "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb",
        "b": "a0fab1377f49a759b57f63318262ebe89fabfc990e8e93ceac2984561482b9d4",
        "c": "52b6419d27bd7f547cee3b92f8c17a908b8a49601ecbec161e5030de1dfe9e0a",
        "s": "9791065143e72360c9cff795b7d2a8086e8f34715478dd5f5b7791370b6e1e80",
    ]

    init(_ letter: Character) {
        text = String(repeating: letter, count: 64)
        digest = Secret.digests[letter].flatMap { Digest($0) }
    }

    /// A session with what libpq takes from `PGOPTIONS`.
    func session(_ site: Site, as role: String = "$app") async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            ConnectionOptions(
                address: site.cluster.address(site.database, user: site.named(role))
                    + " options='\(options)'", applicationName: "tool"))
    }
}

extension SchemaUpgrade {
    func outcome(_ kind: DatabaseTask.Kind, _ secret: Secret?, attempt: Int = 1) async
        -> DatabaseOutcome
    {
        await perform(
            DatabaseTask(
                kind: kind, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
                attempt: attempt, pass: secret?.digest))
    }

    @discardableResult
    func passDone(
        _ kind: DatabaseTask.Kind, _ secret: Secret? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) async throws -> DatabaseReport {
        switch await outcome(kind, secret) {
        case .done(let report): return report
        case .failed(let failure):
            Issue.record("\(kind): \(failure)", sourceLocation: location)
            throw failure
        }
    }
}

private func expectRefused(
    _ session: PostgresConnection, _ sql: String, _ location: SourceLocation = #_sourceLocation
) async {
    let error = await #expect(throws: PostgresError.self, "\(sql)", sourceLocation: location) {
        try await session.execute(sql)
    }
    #expect(
        error?.sqlState == "25006", "\(sql): \(error?.description ?? "")", sourceLocation: location)
}

/// A database whose application owns its tables and migrates them itself, as Django's default is.
private func fenced(
    _ more: String = "", change: (inout SchemaUpgrade.Configuration) -> Void = { _ in }
) async throws -> (Site, SchemaUpgrade) {
    let site = try await Site.make(
        """
        ;GRANT CREATE ON SCHEMA public TO $app, $owner; GRANT $owner TO $app;
        SET ROLE $app; CREATE TABLE own (id serial PRIMARY KEY, n integer); RESET ROLE;
        ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
        ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
        ALTER DEFAULT PRIVILEGES FOR ROLE $app GRANT ALL ON TABLES TO PUBLIC;
        ALTER DEFAULT PRIVILEGES FOR ROLE $app GRANT ALL ON SEQUENCES TO PUBLIC;
        CREATE ROLE other_$db LOGIN; GRANT USAGE ON SCHEMA public TO other_$db;
        REVOKE CONNECT ON DATABASE $db FROM PUBLIC; GRANT CONNECT ON DATABASE $db TO $app, other_$db;
        \(more)
        """)
    let upgrade = site.upgrade {
        $0.tool = SchemaUpgrade.Configuration.ToolAccess(ledger: ToolLedger(.django))
        change(&$0)
    }
    try await upgrade.done(.raiseFence)
    try await upgrade.done(.census)
    return (site, upgrade)
}

/// A tool of the application's own migrates behind the fence: its sessions pass, and no others.
@Suite struct PassTests {
    private let secret = Secret("a")

    @Test
    func theToolPassesAsTheRoleOfTheApplicationAndTheApplicationDoesNot() async throws {
        let (site, upgrade) = try await fenced()
        let application = try await site.connect(as: "$app")
        let early = try await secret.session(site)
        await expectRefused(early, "UPDATE own SET n = 2")
        try await upgrade.passDone(.openPass, secret)
        let tool = try await secret.session(site)
        try await tool.execute(
            """
            CREATE TABLE django_migrations (id serial PRIMARY KEY, app text, name text);
            INSERT INTO django_migrations (app, name) VALUES ('shelf', '0001_initial');
            ALTER TABLE own ADD COLUMN m integer; UPDATE own SET m = n; INSERT INTO own (n) VALUES (1);
            ALTER TABLE entry ADD COLUMN flag boolean; UPDATE entry SET flag = true
            """)
        for session in [
            application, try await site.connect(as: "$app"),
            try await site.connect(as: "other_$db"), try await Secret("b").session(site),
            // The pass is the role's, and nobody else's who has seen it.
            try await secret.session(site, as: "other_$db"),
        ] {
            await expectRefused(session, "CREATE TABLE mine (n integer)")
            // What the tool has made is closed to those whom default privileges let in.
            await expectRefused(session, "INSERT INTO django_migrations (name) VALUES ('x')")
            await session.close()
        }
        // Nothing of the secret is anywhere but in the tool's own environment.
        let shown = try await site.asSuperuser(
            """
            SELECT string_agg(t::text, ' ') FROM (SELECT prosrc FROM pg_proc UNION ALL SELECT query FROM pg_stat_activity
                UNION ALL SELECT f::text FROM sluice.fence AS f UNION ALL SELECT s::text FROM sluice.stored AS s) AS t
            """)[0].text(0)
        #expect(!shown.contains(secret.text))

        try await upgrade.passDone(.closePass)
        await expectRefused(early, "UPDATE own SET n = 2")
        let late = try await secret.session(site)
        await expectRefused(late, "UPDATE own SET n = 2")
        for session in [early, late] { await session.close() }
        await tool.close()
        try await upgrade.done(.lowerFence)
        let after = try await site.connect(as: "other_$db")
        // As the tool and default privileges have left it.
        try await after.execute("INSERT INTO django_migrations (name) VALUES ('after')")
        let own = try await site.connect(as: "$app")
        try await own.execute("INSERT INTO own (n) VALUES (3)")
        for session in [after, own] { await session.close() }
        #expect(try await site.asSuperuser("SELECT evtname FROM pg_event_trigger").isEmpty)
        await upgrade.close()
    }

    /// Two databases of one server, each with a tool, which logs in as the same role in both.
    @Test
    func thePassOfOneDatabaseOpensNoOther() async throws {
        let (first, upgrade) = try await fenced()
        let role = first.application
        let (second, other) = try await fenced(
            "GRANT $owner TO \(role); GRANT CONNECT ON DATABASE $db TO \(role);")
        let (own, others) = (Secret("a"), Secret("b"))
        let write = "UPDATE entry SET name = name"
        try await upgrade.passDone(.openPass, own)
        try await other.passDone(.openPass, others)
        for (site, passes, refused) in [(first, own, others), (second, others, own)] {
            let tool = try await passes.session(site, as: role)
            try await tool.execute(write)
            let stranger = try await refused.session(site, as: role)
            await expectRefused(stranger, write)
            await expectRefused(stranger, "CREATE TABLE mine (n integer)")
            for session in [tool, stranger] { await session.close() }
        }
        // The end of one pass is no end of the other.
        try await upgrade.passDone(.closePass)
        let late = try await own.session(first, as: role)
        await expectRefused(late, write)
        let tool = try await others.session(second, as: role)
        try await tool.execute(write)
        try await other.passDone(.closePass)
        await expectRefused(late, write)
        for session in [late, tool] { await session.close() }
        for upgrade in [upgrade, other] {
            try await upgrade.done(.lowerFence)
            await upgrade.close()
        }
    }

    @Test
    func whatTheToolTakesOffTheFenceIsPutBackAtOnce() async throws {
        let (site, upgrade) = try await fenced()
        try await upgrade.passDone(.openPass, secret)
        let tool = try await secret.session(site)
        let application = try await site.connect(as: "$app")
        for sql in [
            "DROP TRIGGER \"!sluice_fence\" ON own", "ALTER TABLE own DISABLE TRIGGER USER",
            "ALTER TABLE own RENAME TO renamed", "CREATE TABLE again AS SELECT 1 AS n",
            "CREATE TABLE part (n integer) PARTITION BY RANGE (n)",
            "CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (10)",
            "ALTER TABLE part DISABLE TRIGGER \"!sluice_fence\"",
            "SELECT 1 AS n INTO selected",
        ] {
            try await tool.execute(sql)
            for table in ["own", "renamed", "again", "part", "part_low", "selected"] {
                guard
                    try await !site.asSuperuser("SELECT WHERE to_regclass('\(table)') IS NOT NULL")
                        .isEmpty
                else { continue }
                await expectRefused(application, "DELETE FROM \(table)")
            }
        }
        #expect(try await site.asSuperuser("SELECT FROM sluice.unfenced_table").isEmpty)
        for session in [tool, application] { await session.close() }
        try await upgrade.passDone(.closePass)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    @Test
    func theToolsSessionsEndWithThePassAndNoOtherOfTheSameRoleDoes() async throws {
        let (site, upgrade) = try await fenced()
        try await upgrade.passDone(.openPass, secret)
        let writing = try await secret.session(site)
        try await writing.execute("BEGIN; UPDATE own SET n = 4; INSERT INTO own (n) VALUES (5)")
        let idle = try await secret.session(site)
        try await idle.execute("INSERT INTO own (n) VALUES (6)")
        // It lets go of what a session may let go of, and is still there.
        let sly = try await secret.session(site)
        try await sly.execute(
            "BEGIN; UPDATE entry SET name = 'sly'; SELECT pg_advisory_unlock_all()")
        let reader = try await site.connect(as: "$app")
        try await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM own")
        // Old in its transaction, so that it may have old things in its caches.
        let sleeper = try await secret.session(site)
        try await sleeper.execute("BEGIN; SELECT 1")

        // By the next coordinator.
        let next = site.upgrade {
            $0.tool = SchemaUpgrade.Configuration.ToolAccess(ledger: ToolLedger(.django))
        }
        let report = try await next.passDone(.closePass)
        #expect(report.lines.count { $0.hasPrefix("ended:") } == 3, "\(report.lines)")
        #expect(report.change?.isNone == true)
        for session in [writing, idle, sly] {
            await #expect(throws: PostgresError.self) { try await session.execute("COMMIT") }
        }
        try await reader.execute("COMMIT")
        await expectRefused(sleeper, "CREATE TABLE slept (n integer)")
        try await sleeper.execute("ROLLBACK; BEGIN; SELECT 1")
        await expectRefused(sleeper, "UPDATE own SET n = 7")
        #expect(try await site.asSuperuser("SELECT FROM own").count == 1)
        // Again, and where there was none.
        try await next.passDone(.closePass)
        try await next.passDone(.settlePass)
        for session in [reader, sleeper] { await session.close() }
        try await next.done(.lowerFence)
        await next.close()
        await upgrade.close()
    }

    @Test
    func whoeverClosesThePassSeesEverybodyWhoHasComeThroughHoweverOldASessionIs() async throws {
        let (site, upgrade) = try await fenced()
        try await upgrade.passDone(.openPass, secret)
        let tools = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 1...6 {
                let session = try await secret.session(site)
                group.addTask {
                    var written = 0
                    while (try? await session.execute("INSERT INTO own (n) VALUES (\(number))"))
                        != nil
                    {
                        written += 1
                    }
                    await session.close()
                    return written
                }
            }
            try await poll { try await site.asSuperuser("SELECT FROM own").count > 50 }
            try await upgrade.passDone(.closePass)
            let left = try await site.asSuperuser(
                "SELECT count(*), max(xmin::text::bigint) FROM own")[0]
            let written = try await group.reduce(0, +)
            let after = try await site.asSuperuser(
                "SELECT count(*), max(xmin::text::bigint) FROM own")[0]
            #expect(left.cells == after.cells)
            return (written, left.integer(0) ?? 0)
        }
        // An acknowledgement may be lost with its session.
        #expect(tools.1 >= tools.0 && tools.1 <= tools.0 + 6)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    @Test
    func aPassNeedsAProvedFenceAndARoleThatLogsInAndThatTheFenceHolds() async throws {
        let (site, upgrade) = try await fenced()
        await upgrade.close()
        for (role, words) in [
            ("nobody_here", "does not exist"), (site.owner, "may not log in"),
            (site.migrator, "Sluice's own"), ("postgres", "superuser"),
        ] {
            let other = site.upgrade {
                $0.tool = SchemaUpgrade.Configuration.ToolAccess(
                    ledger: ToolLedger(.django), role: role)
            }
            guard case .failed(let failure) = await other.outcome(.openPass, secret) else {
                Issue.record("a pass for \(role)")
                continue
            }
            #expect(failure.code == "pass-role")
            #expect(failure.message.contains(words), "\(failure)")
            let preflight = try await other.failure(.preflight)
            #expect(
                preflight.findings.contains { $0.code == "pass-role" && $0.message.contains(words) }
            )
            await other.close()
        }
        // The way back with a pass that nobody took back: it opens nothing afterwards, and leaves nothing.
        try await upgrade.passDone(.openPass, secret)
        let second = Secret("c")
        try await upgrade.passDone(.openPass, second)
        let stale = try await secret.session(site)
        await expectRefused(stale, "UPDATE own SET n = 2")
        let tool = try await second.session(site)
        try await tool.execute("UPDATE own SET n = 2")
        for session in [stale, tool] { await session.close() }
        try await upgrade.done(.lowerFence)
        #expect(try await site.asSuperuser("SELECT FROM pg_event_trigger").isEmpty)
        guard case .failed(let failure) = await upgrade.outcome(.openPass, secret) else {
            Issue.record("a pass without a fence")
            return
        }
        #expect(failure.code == "fence-down")
        // On the way back nobody minds.
        #expect(try await upgrade.passDone(.settlePass).change?.isNone == true)
        await upgrade.close()
    }

    @Test
    func whatTheToolHasDoneIsFoundByLookingAndWhatWasUndoneIsAsBefore() async throws {
        let (site, upgrade) = try await fenced(
            """
            SET ROLE $app; CREATE TABLE django_migrations (id serial PRIMARY KEY, app text, name text);
            INSERT INTO django_migrations (app, name) VALUES ('auth', '0001'), ('shelf', '0001'), ('auth', '0002');
            CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n';
            CREATE TYPE mood AS ENUM ('good'); RESET ROLE;
            """)
        let opened = try await upgrade.passDone(.openPass, secret)
        #expect(opened.ledger == ["shelf.0001", "auth.0002"])
        #expect(try await upgrade.passDone(.closePass).change?.isNone == true)

        // Data is no schema, and a ledger without a change of the schema is a change.
        try await upgrade.passDone(.openPass, secret)
        var tool = try await secret.session(site)
        try await tool.execute(
            "UPDATE own SET n = 1; INSERT INTO django_migrations (app, name) VALUES ('shelf', '0002')"
        )
        await tool.close()
        var change = try await upgrade.passDone(.closePass).change
        #expect(change == ToolChange(isSchemaChanged: false, added: ["shelf.0002"], removed: []))

        for (sql, back, name) in [
            ("ALTER TABLE own ADD m integer", "ALTER TABLE own DROP m", "table public.own"),
            (
                "ALTER TABLE own DROP n", "ALTER TABLE own ADD n integer", "table public.own"
            ),
            ("CREATE INDEX own_n ON own (n)", "DROP INDEX own_n", "table public.own"),
            ("CREATE TABLE more (n integer)", "DROP TABLE more", "table public.more"),
            (
                "CREATE OR REPLACE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 3 * n'",
                "CREATE OR REPLACE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n'",
                "function public.twice(integer)"
            ),
            (
                "GRANT SELECT ON own TO other_$db", "REVOKE SELECT ON own FROM other_$db",
                "table public.own"
            ),
            (
                "GRANT USAGE ON SEQUENCE entry_id_seq TO other_$db",
                "REVOKE USAGE ON SEQUENCE entry_id_seq FROM other_$db",
                "sequence public.entry_id_seq"
            ),
            (
                "ALTER TABLE own ALTER n SET DEFAULT 5", "ALTER TABLE own ALTER n DROP DEFAULT",
                "table public.own"
            ),
        ] {
            try await upgrade.passDone(.openPass, secret)
            tool = try await secret.session(site)
            try await tool.execute(site.named(sql))
            await tool.close()
            let report = try await upgrade.passDone(.settlePass)
            #expect(report.change?.isSchemaChanged == true, "\(sql)")
            #expect(report.lines.contains { $0.contains(name) }, "\(sql): \(report.lines)")
            try await upgrade.passDone(.openRevertPass, secret)
            tool = try await secret.session(site)
            try await tool.execute(site.named(back))
            await tool.close()
            change = try await upgrade.passDone(.closeRevertPass).change
            #expect(change?.isSchemaChanged == false, "\(back)")
            #expect(change?.added == ["shelf.0002"])
        }
        try await upgrade.done(.lowerFence)
        #expect(try await site.asSuperuser("SELECT FROM sluice.stored").isEmpty)
        await upgrade.close()
    }

    @Test
    func rightsThatTheToolChangesAreAfterTheLiftAsWithoutAFence() async throws {
        let more = "GRANT ALL ON entry_id_seq, own_id_seq TO other_$db;"
        let statements = [
            "GRANT USAGE ON SEQUENCE own_id_seq TO $app, other_$db WITH GRANT OPTION",
            "REVOKE ALL ON SEQUENCE entry_id_seq FROM other_$db",
            "CREATE TABLE third (id serial); ALTER TABLE third OWNER TO $owner",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO $owner",
            "ALTER TABLE own OWNER TO $owner",
            "CREATE SEQUENCE fourth; REVOKE ALL ON SEQUENCE fourth FROM PUBLIC",
        ]
        let rights = """
            SELECT r.rolname LIKE 'other%', r.rolname LIKE 'owner%', c.oid::regclass::text, p,
                has_sequence_privilege(r.oid, c.oid, p), c.relowner::regrole::text LIKE 'owner%'
            FROM pg_class AS c, pg_roles AS r, unnest(ARRAY['USAGE', 'UPDATE', 'SELECT', 'USAGE WITH GRANT OPTION']) AS p
            WHERE c.relkind = 'S' AND c.relnamespace = 'public'::regnamespace AND r.rolname LIKE '%\\_$db'
                AND NOT r.rolsuper ORDER BY c.oid::regclass::text, r.rolname, p
            """
        let plain = try await Site.make(
            ";GRANT CREATE ON SCHEMA public TO $app, $owner; GRANT $owner TO $app; CREATE ROLE other_$db LOGIN;"
                + """
                SET ROLE $app; CREATE TABLE own (id serial PRIMARY KEY, n integer); RESET ROLE;
                ALTER DEFAULT PRIVILEGES FOR ROLE $app GRANT ALL ON SEQUENCES TO PUBLIC; \(more)
                """)
        let free = try await plain.connect(as: "$app")
        for sql in statements { try await free.execute(plain.named(sql)) }
        await free.close()

        let (site, upgrade) = try await fenced(more)
        try await upgrade.passDone(.openPass, secret)
        let tool = try await secret.session(site)
        for sql in statements { try await tool.execute(site.named(sql)) }
        await tool.close()
        try await upgrade.passDone(.closePass)
        try await upgrade.done(.lowerFence)
        let (found, expected) = (
            try await site.asSuperuser(rights).map(\.cells),
            try await plain.asSuperuser(rights).map(\.cells)
        )
        #expect(expected.count > 20)
        #expect(found == expected)
        await upgrade.close()
    }
}
