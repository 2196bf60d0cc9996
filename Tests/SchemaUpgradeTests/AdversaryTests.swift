// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private let windowMigration = [
    MigrationSet.File(
        name: "0001_window.up.sql",
        text: """
            CREATE TABLE born_new (n integer);
            CREATE SEQUENCE born_counter;
            CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (100) TO (200);
            ALTER TABLE parted_high OWNER TO $owner;
            CREATE TABLE born_owned (n integer); ALTER TABLE born_owned OWNER TO $owner;
            CREATE FUNCTION born_function() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
                $f$SELECT nextval('public.counter')$f$;
            GRANT INSERT ON entry TO nobody_$db;
            GRANT ALL ON entry_id_seq TO nobody_$db;
            REVOKE DELETE ON entry FROM group_$db;
            UPDATE entry SET name = name || '!' WHERE id = 1;
            SELECT nextval('counter');
            DELETE FROM parent WHERE id = 5;
            """)
]

/// What came of a siege: the techniques that changed something, with what they changed.
private struct Siege {
    /// Instead of statements that weaken the fence: there is none.
    static let noFence = "no fence"

    var tried: [String] = []
    var gotThrough: [String: [String]] = [:]
    var answers: [String: [String]] = [:]

    /// Puts the fence up with all attackers in place, lets them try, and takes it down.
    ///
    /// - Parameters:
    ///   - weaken: statements of the migrator that take a part of the fence away again.
    ///   - pass: a tool that logs in as this role migrates in the window, and its pass is open all the time.
    static func lay(
        to site: Site, with techniques: [Technique] = Technique.all, census: Bool = true,
        weaken: String? = nil, pass: String? = nil
    ) async throws -> Siege {
        let set = try MigrationSet.read(
            windowMigration.map { .init(name: $0.name, text: site.named($0.text)) })
        let secret = Secret("s")
        let upgrade = site.upgrade(pass == nil ? set : .empty) {
            $0.drainTimeout = .milliseconds(200)
            $0.tool = pass.map {
                .init(ledger: ToolLedger(.query("SELECT 'none'")), role: site.named($0))
            }
        }
        try await upgrade.done(.expand)
        var siege = Siege()
        var attackers: [Attacker] = []
        for technique in techniques { attackers.append(try await Attacker(technique, on: site)) }
        // Without a fence, those in the middle of something come first, or the others would wait for their locks.
        if weaken == Siege.noFence {
            attackers.sort { $0.technique.isUnderWay && !$1.technique.isUnderWay }
        }
        if weaken == Siege.noFence {
            // Everybody finds everything open.
        } else if let weaken {
            try await upgrade.done(.raiseFence)
            let migrator = try await site.connect(as: "$migrator")
            try await migrator.execute(weaken)
            await migrator.close()
        } else {
            try await upgrade.done(.raiseFence)
        }
        if census { try await upgrade.done(.census) }
        var tool: PostgresConnection?
        if let pass {
            try await upgrade.passDone(.openPass, secret)
            tool = try await secret.session(site, as: pass)
            try await tool?.execute("CREATE TABLE born_first (n integer)")
        }
        // What holds less also lets things be dropped that are to be read.
        if site.level == .owner { try await siege.readEverything(site) }
        try await siege.run(attackers.filter { !$0.technique.isAfterMigration }, site)
        if weaken == nil {
            if let tool {
                for file in windowMigration { try await tool.execute(site.named(file.text)) }
            } else {
                try await upgrade.done(.migrate)
            }
            try await siege.run(attackers.filter { $0.technique.isAfterMigration }, site)
        }
        if weaken == nil, site.level == .complete { try await siege.readEverything(site) }
        for attacker in attackers { await attacker.close() }
        await tool?.close()
        if pass != nil { try await upgrade.passDone(.closePass) }
        try await upgrade.done(.lowerFence)
        return siege
    }

    private mutating func run(_ attackers: [Attacker], _ site: Site) async throws {
        var before = try await site.contents()
        for attacker in attackers {
            let name = attacker.technique.name
            tried.append(name)
            answers[name] = try await attacker.attack(site)
            let after = try await site.contents()
            if after != before {
                let keys = Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }
                let changes = keys.filter {
                    !attacker.technique.isOfWhoNotWhat || !$0.hasPrefix("catalog: ")
                }
                if !changes.isEmpty { gotThrough[name] = changes.sorted() }
                before = after
                // Whatever one has opened, the next finds a whole fence.
                if site.level == .owner, !changes.isEmpty { before = try await mend(site) }
            }
        }
    }

    private func mend(_ site: Site) async throws -> [String: String] {
        let migrator = try await site.connect(as: "$migrator")
        try await migrator.execute(
            "SET search_path = pg_catalog; SELECT sluice.close_rights(); SELECT sluice.fence_tables(1000)"
        )
        await migrator.close()
        return try await site.contents()
    }

    private func readEverything(_ site: Site) async throws {
        let reads: [(role: String, sql: String)] = [
            ("$app", "SELECT * FROM entry"),
            ("$app", "SELECT count(*) FROM parted JOIN base ON true"),
            ("grouped_$db", "SELECT * FROM entries"), ("nobody_$db", "SELECT * FROM everyone"),
            ("nobody_$db", "SELECT * FROM summary"), ("columned_$db", "SELECT name FROM entry"),
            ("member_$db", "SELECT * FROM instead, ruled, derived"),
            ("holder_$db", "SELECT * FROM held"),
            ("writer_$db", "SELECT * FROM child"), ("$app", "SELECT lo_get(4242)"),
            ("$app", "BEGIN; SELECT loread(lo_open(4242, 262144), 10); COMMIT"),
            ("$app", "SELECT * FROM far"),
            ("$app", "SELECT last_value FROM counter"),
            (
                "$app",
                "BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE c CURSOR FOR SELECT * FROM entry; FETCH ALL FROM c; COMMIT"
            ),
            ("$app", "WITH a AS (SELECT * FROM entry) SELECT * FROM a"),
            ("$app", "EXPLAIN ANALYZE SELECT * FROM entry"),
            ("$app", "PREPARE r AS SELECT * FROM entry; EXECUTE r"),
            ("off_$db", "SELECT * FROM entry"),
        ]
        for read in reads {
            let session = try await site.connect(as: read.role)
            await #expect(throws: Never.self, "\(read.role): \(read.sql)") {
                try await session.execute(site.named(read.sql))
            }
            await session.close()
        }
    }
}

/// The techniques that get through a fence whose migrator is no superuser, by what has to be accepted for it.
private let openings: [FenceGap: Set<String>] = [
    .definitions: Set(
        Technique.all.map(\.name).filter { $0.hasPrefix("owner: ") && !$0.contains("TEMP TABLE") }
    ).union([
        "grant option passed on", "owner grants again", "owner disables the trigger",
        "owner drops the trigger", "owner rewrites by ALTER TYPE",
        "owner creates a table as SELECT", "owner selects into",
        "owner refreshes a materialized view", "database owner creates a schema",
        "owner alters default privileges", "owner imports a foreign schema",
        "SECURITY DEFINER creates a table", "SECURITY DEFINER disables triggers",
        "operator in front of pg_catalog's, for DDL", "replication role replica, DDL",
        "ALTER SEQUENCE", "owner renames a table", "owner drops a sequence",
        "owner gives the table away", "owner drops the table", "owner drops all that is owned",
    ]),
    .largeObjects: [
        "lo_create", "lo_creat", "lo_from_bytea", "lo_put on an own object",
        "lo_put by a right of PUBLIC", "lowrite", "lo_truncate", "large object's owner changes",
        "lo_unlink", "new large object",
    ],
    .definerFunctions: [
        "superuser's SECURITY DEFINER draws from a sequence",
        "superuser's SECURITY DEFINER drops the event trigger",
        "superuser's SECURITY DEFINER makes a large object",
    ],
    .sequences: ["pg_write_all_data passed on"],
]

extension Technique {
    /// Whether a finding names who does it, or the function that does it for them.
    fileprivate func isNamed(by finding: Diagnostic, _ site: Site) -> Bool {
        if finding.code == FenceGap.largeObjects.rawValue { return true }
        let function = finding.message.firstMatch(of: /^public\.(\w+)\(\) is SECURITY DEFINER/)?.1
        return finding.message.hasPrefix("role \(site.named(role)) ")
            || function.map { name in attack.contains { $0.contains("\(name)()") } } ?? false
    }
}

/// A part of the fence to leave out, and techniques that must then get through.
struct Weakness: Sendable, CustomTestStringConvertible {
    var name: String
    var sql: String?
    var tryAll = false
    var letsThrough: [String]
    var testDescription: String { name }
}

private let weaknesses = [
    Weakness(
        name: "triggers that refuse nothing",
        sql:
            "DROP EVENT TRIGGER sluice_fence; CREATE OR REPLACE FUNCTION sluice.refuse_write() RETURNS trigger "
            + "LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; SELECT sluice.open_rights()",
        tryAll: true,
        letsThrough: [
            "grantee updates", "owner inserts", "owner's SECURITY DEFINER draws from a sequence",
            "superuser's SECURITY DEFINER",
            "owner creates a table as SELECT", "nextval by the owner", "lo_create",
            "owner grants again",
        ]),
    Weakness(
        name: "no event trigger", sql: "DROP EVENT TRIGGER sluice_fence",
        letsThrough: [
            "owner disables the trigger", "owner drops the table",
            "owner refreshes a materialized view",
        ]),
    Weakness(
        name: "no rights taken", sql: "SELECT sluice.open_rights()",
        letsThrough: [
            "nextval by the owner", "superuser's SECURITY DEFINER draws from a sequence",
            "lo_put on an own object",
        ]),
    Weakness(
        name: "triggers that a replica skips",
        sql: "UPDATE pg_trigger SET tgenabled = 'O' WHERE tgname = '!sluice_fence'; "
            + "UPDATE pg_class SET relhastriggers = true WHERE oid IN (SELECT tgrelid FROM pg_trigger WHERE tgname = '!sluice_fence')",
        letsThrough: ["replication role replica, definer"]),
]

/// One after the other: each uses much of what the cluster has only once.
@Suite(.serialized) struct AdversaryTests {
    @Test(arguments: [true, false])
    func noTechniqueCommitsAWriteInTheWindow(withWriterOfAll: Bool) async throws {
        let site = try await Site.makeAttacked(withWriterOfAll: withWriterOfAll)
        let siege = try await Siege.lay(to: site)
        #expect(siege.tried.count == Technique.all.count)
        #expect(Set(siege.tried).count == siege.tried.count, "each technique has a name of its own")
        #expect(siege.tried.count >= 60)
        for (name, changes) in siege.gotThrough.sorted(by: { $0.key < $1.key }) {
            Issue.record("\(name) changed \(changes.prefix(5)): \(siege.answers[name] ?? [])")
        }
        #expect(siege.answers["logical message"]?.first?.contains("permission denied") == true)
        print("techniques tried: \(siege.tried.count)")
        // What frameworks know, not what they take for a mistake of their own.
        for name in [
            "grantee updates", "grantee deletes", "group member truncates", "column right updates",

            "anybody, by a right of PUBLIC", "INSTEAD OF trigger", "owner inserts",
            "foreign key cascade",
            "partitioned table", "old table, after the migration",
            "new table, by default privileges",
        ]
            + (withWriterOfAll
                ? []
                : [
                    "grantee inserts", "MERGE", "INSERT ON CONFLICT",
                    "right granted by the migration",
                ])
        {
            #expect(
                siege.answers[name]?.first?.contains("25006") == true,
                "\(name): \(siege.answers[name] ?? [])")
        }
        // What the migration granted and created is open after the lift, and what it revoked is gone.
        let nobody = try await site.connect(as: "nobody_$db")
        try await nobody.execute("INSERT INTO entry (name) VALUES ('granted by the migration')")
        let application = try await site.connect(as: "$app")
        try await application.execute(
            "INSERT INTO born_new VALUES (1); SELECT nextval('born_counter')")
        let grouped = try await site.connect(as: "grouped_$db")
        await #expect(throws: PostgresError.self) { try await grouped.execute("DELETE FROM entry") }
    }

    /// A member of the owners holds less, and what it does not is known before: whatever gets through is of a kind that preflight has
    /// named, with the role or the function that does it.
    @Test func whatGetsThroughTheFenceOfAMemberIsNamedByPreflightBefore() async throws {
        let site = try await Site.makeAttacked(level: .owner)
        let strict = site.upgrade { $0.accepted = [] }
        let findings = try await strict.failure(.preflight).findings.filter {
            $0.severity == .error
        }
        await strict.close()
        let siege = try await Siege.lay(to: site)
        #expect(siege.tried.count == Technique.all.count)
        for technique in Technique.all where !technique.name.contains("TEMP TABLE") {
            guard let changes = siege.gotThrough[technique.name] else { continue }
            let gap = openings.first { $0.value.contains(technique.name) }?.key
            #expect(
                findings.contains { $0.code == gap?.rawValue && technique.isNamed(by: $0, site) },
                "\(technique.name) changed \(changes): \(siege.answers[technique.name] ?? [])")
        }
        // What docs/database.md says of the others. A temporary table may be gone before anybody looks.
        let through = Set(siege.gotThrough.keys.filter { !$0.contains("TEMP TABLE") })
        #expect(
            through.symmetricDifference(openings.values.joined()) == [], "\(through.sorted())")
        for name in [
            "grantee updates", "owner inserts", "owner's SECURITY DEFINER", "new partition",
        ] {
            #expect(
                siege.answers[name]?.first?.contains("25006") == true,
                "\(name): \(siege.answers[name] ?? [])")
        }
        print("techniques through the fence of a member: \(through.count) of \(siege.tried.count)")
    }

    /// While a pass is open, only the numbers of sequences of the roles that have it are held by nothing: PostgreSQL knows
    /// rights of roles, and not of sessions.
    @Test
    func withAnOpenPassNoTechniqueChangesARowOrADefinition() async throws {
        let site = try await Site.makeAttacked(withWriterOfAll: false)
        try await site.asSuperuser(
            """
            CREATE ROLE tool_$db LOGIN; GRANT $owner TO tool_$db; GRANT CONNECT ON DATABASE $db TO tool_$db;
            GRANT CREATE, USAGE ON SCHEMA public TO tool_$db;
            ALTER DEFAULT PRIVILEGES FOR ROLE tool_$db GRANT ALL ON TABLES TO PUBLIC;
            ALTER DEFAULT PRIVILEGES FOR ROLE tool_$db GRANT ALL ON SEQUENCES TO PUBLIC
            """)
        let siege = try await Siege.lay(to: site, pass: "tool_$db")
        #expect(siege.tried.count == Technique.all.count)
        let drawing: Set = [
            "rule that draws from a sequence", "owner's SECURITY DEFINER draws from a sequence",
            "function marked STABLE draws from a sequence", "setval by the owner's member",
            "new definer function", "owner reassigns",
        ]
        for (name, changes) in siege.gotThrough.sorted(by: { $0.key < $1.key }) {
            #expect(
                drawing.contains(name) && changes.allSatisfy { $0 == "counter" },
                "\(name) changed \(changes.prefix(5)): \(siege.answers[name] ?? [])")
        }
        print(
            "techniques that draw a number while a pass is open: \(siege.gotThrough.keys.sorted())")
    }

    @Test(arguments: weaknesses)
    func aFenceThatLacksAPartLetsSomethingThrough(weakness: Weakness) async throws {
        let site = try await Site.makeAttacked()
        let techniques = Technique.all.filter {
            weakness.tryAll || weakness.letsThrough.contains($0.name)
        }
        let siege = try await Siege.lay(
            to: site, with: techniques, census: false, weaken: weakness.sql)
        for name in weakness.letsThrough {
            #expect(siege.gotThrough[name] != nil, "\(name): \(siege.answers[name] ?? [])")
        }
        print(
            "\(weakness.name): \(siege.gotThrough.count) of \(siege.tried.count) techniques got through"
        )
    }

    /// Each technique does something when there is no fence; so the fence, and nothing else, stops it.
    @Test func withoutAFenceTheTechniquesWork() async throws {
        let site = try await Site.makeAttacked()
        let techniques = Technique.all.filter { !$0.isAfterMigration }
        let siege = try await Siege.lay(
            to: site, with: techniques, census: false, weaken: Siege.noFence)
        // A temporary table may be gone with its session before anybody looks.
        let duds = siege.tried.filter { siege.gotThrough[$0] == nil && !$0.contains("TEMP TABLE") }
        // A message in the log of changes is not in any table.
        #expect(duds == ["logical message"], "\(duds.map { "\($0): \(siege.answers[$0] ?? [])" })")
    }

    /// COPY checks its rights once, when it begins, and may have no transaction number yet.
    @Test func aCopyUnderWayIsEndedByTheCensus() async throws {
        let site = try await Site.make()
        let copy = try RunningProgram([
            "\(site.cluster.programs)/psql", "-h", site.cluster.directory, "-p",
            "\(site.cluster.port)",
            "-U", site.application, "-d", site.database, "-qc", "COPY entry (name) FROM STDIN",
        ])
        let deadline = ContinuousClock.now.advanced(by: .seconds(20))
        while try await site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE datname = '$db' AND query LIKE 'COPY entry%' AND state = 'active'"
        ).isEmpty {
            try #require(ContinuousClock.now < deadline, "the COPY never began")
            try await Task.sleep(for: .milliseconds(5))
        }
        let upgrade = site.upgrade()
        try await upgrade.done(.raiseFence)
        let proof = try await upgrade.done(.census).census
        #expect(proof?.ended.isEmpty == true || proof?.ended.first?.contains("COPY entry") == true)
        let before = try await site.contents()
        copy.write("got through\n")
        #expect(copy.finish() != 0)
        #expect(try await site.contents() == before)
        try await upgrade.done(.lowerFence)
    }
}
