// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private let invalid =
    "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid AND indrelid = 'entry'::regclass"

@Test(arguments: [
    "CREATE INDEX CONCURRENTLY entry_name ON entry (name)",
    "DROP INDEX CONCURRENTLY entry_old",
    "REINDEX TABLE CONCURRENTLY entry",
])
func statementsWhoseWaitsKeepNobodyOutWaitLongerThanTheLockTimeoutAndAreDone(text: String)
    async throws
{
    let site = try await Site.make(
        ";CREATE INDEX entry_old ON entry (id); SET ROLE $owner; CREATE TABLE other (x int); GRANT SELECT ON other TO $app; RESET ROLE"
    )
    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM entry")
    let upgrade = site.upgrade(try migrations(("0001_a.up.sql", "-- sluice: expand\n" + text))) {
        $0.lockTimeout = .milliseconds(20)
        $0.lockPatience = .seconds(60)
    }
    async let outcome = upgrade.perform(.expand)
    try await poll {
        try await !site.asSuperuser(
            """
            SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event_type = 'Lock'
                AND clock_timestamp() - query_start > interval '100 milliseconds'
            """
        ).isEmpty
    }
    // Nobody queues behind it.
    let writer = try await site.connect(as: "$app")
    try await writer.execute("INSERT INTO entry (name) VALUES ('x'); SELECT FROM entry")
    await reader.close()
    guard case .done = await outcome else {
        Issue.record("it should have waited: \(await outcome)")
        return
    }
    #expect(try await site.asSuperuser(invalid).isEmpty)
    await upgrade.close()
}

@Test(arguments: [
    "CREATE UNIQUE INDEX CONCURRENTLY entry_name ON entry (name)",
    "CREATE INDEX CONCURRENTLY entry_odd ON entry ((1 / (length(name) - length(name))))",
    "REINDEX INDEX CONCURRENTLY entry_broken",
])
func whatAFailedConcurrentStatementHasLeftIsGoneWhenTheTaskHasFailed(text: String) async throws {
    let site = try await Site.make(
        """
        ;INSERT INTO entry (name) VALUES ('twice'), ('twice');
        CREATE FUNCTION brittle(text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
            'BEGIN IF current_setting(''app.broken'', true) = ''on'' THEN RAISE ''broken''; END IF; RETURN 1; END';
        SET ROLE $owner; CREATE INDEX entry_broken ON entry (brittle(name)); RESET ROLE;
        ALTER DATABASE $db SET app.broken = on
        """)
    let upgrade = site.upgrade(
        try migrations(
            ("0001_a.up.sql", "-- sluice: expand\n" + text), ("0001_a.down.sql", "SELECT 1")))
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "sql")
    #expect(failure.message.hasPrefix("0001_a.up.sql:2:1: "))
    #expect(try await site.asSuperuser(invalid).isEmpty)
    try await upgrade.done(.revertExpand)
    #expect(try await site.asSuperuser("SELECT FROM sluice.progress").isEmpty)
    await upgrade.close()
}

@Test(arguments: [false, true])
func aWayBackDropsWhatAnAttemptThatDidNotAnswerHasLeft(isDone: Bool) async throws {
    let site = try await Site.make()
    let files = try migrations(
        (
            "0001_a.up.sql",
            "-- sluice: expand\nCREATE INDEX CONCURRENTLY entry_name ON entry (name)"
        ),
        ("0001_a.down.sql", "DROP INDEX CONCURRENTLY entry_name"))
    let upgrade = site.upgrade(files)
    try await interruptIndex(site, upgrade)
    // Whether it came to its end is not known to anybody.
    if isDone { try await site.asSuperuser("REINDEX INDEX entry_name") }
    let next = site.upgrade(files)
    let report = try await next.done(.revertExpand, epoch: 2)
    #expect(report.lines == ["undid 0001_a, of which 0 of 1 statements had taken effect"])
    #expect(try await site.asSuperuser("SELECT to_regclass('entry_name')")[0][0] == nil)
    #expect(try await site.asSuperuser("SELECT FROM sluice.progress").isEmpty)
    await next.close()
}

@Test(arguments: [
    ("CREATE INDEX entry_name ON entry (name)", true),
    ("CREATE INDEX entry_name ON entry (id)", false),
    ("CREATE UNIQUE INDEX entry_name ON entry (name)", false),
    ("CREATE INDEX entry_name ON entry (name) WHERE id > 5", false),
    ("CREATE INDEX entry_name ON other (name)", false),
    ("CREATE TABLE entry_name (a int)", false),
])
func afterAnAttemptWithoutAnswerOnlyAnIndexThatSaysTheSameIsTaken(found: String, isTaken: Bool)
    async throws
{
    let site = try await Site.make(";SET ROLE $owner; CREATE TABLE other (name text); RESET ROLE")
    let files = try migrations(
        (
            "0001_a.up.sql",
            "-- sluice: expand\nCREATE INDEX CONCURRENTLY entry_name ON public.entry (name)"
        ))
    try await interruptIndex(site, site.upgrade(files))
    try await site.asSuperuser("DROP INDEX entry_name; SET ROLE $owner; \(found); RESET ROLE")
    let next = site.upgrade(files)
    if isTaken {
        try await next.done(.expand, epoch: 2)
    } else {
        let failure = try await next.failure(.expand, epoch: 2)
        #expect(failure.message.contains("already exists"))
        #expect(failure.advice?.contains("name") == true)
    }
    await next.close()
}

@Test(arguments: [
    "CREATE INDEX CONCURRENTLY entry_old ON entry (name)",
    "CREATE UNIQUE INDEX CONCURRENTLY entry_old ON other (name)",
    "DROP INDEX CONCURRENTLY entry_never",
    "ALTER TABLE log DETACH PARTITION entry CONCURRENTLY",
])
func aNameThatIsTakenIsPostgreSQLsToRefuseWithoutAnAttemptBefore(text: String) async throws {
    let site = try await Site.make(
        """
        ;SET ROLE $owner; CREATE TABLE other (name text); CREATE INDEX entry_old ON entry (id);
        CREATE TABLE log (at date) PARTITION BY RANGE (at); RESET ROLE
        """)
    let before = try await site.catalog()
    let upgrade = site.upgrade(try migrations(("0001_a.up.sql", "-- sluice: expand\n" + text)))
    #expect(try await upgrade.failure(.expand).code == "sql")
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
    #expect(try await site.catalog() == before)
    await upgrade.close()
}

@Test
func aFileWithoutATransactionGoesOnWhereItStoppedAndDoesNothingTwice() async throws {
    let site = try await Site.make(
        ";SET ROLE $owner; CREATE TABLE trace (n int); GRANT SELECT ON trace TO $app; RESET ROLE")
    let files = try migrations(
        (
            "0001_a.up.sql",
            """
            -- sluice: expand transaction=none
            INSERT INTO trace VALUES (1);
            CREATE INDEX CONCURRENTLY entry_name ON entry (name);
            DO $$ BEGIN FOR n IN 1..3 LOOP UPDATE trace SET n = trace.n + 1; COMMIT; END LOOP; END $$;
            INSERT INTO trace SELECT 1 / count(*) FROM other;
            INSERT INTO trace VALUES (9)
            """
        ),
        ("0001_a.down.sql", "DROP INDEX entry_name; DROP TABLE IF EXISTS other; DELETE FROM trace"))
    let upgrade = site.upgrade(files)
    let failure = try await upgrade.failure(.expand)
    #expect(failure.message.hasPrefix("0001_a.up.sql:5:"))
    #expect(failure.message.contains("3 of 5 statements"))
    try await site.asSuperuser("SET ROLE $owner; CREATE TABLE other AS SELECT 1 AS a; RESET ROLE")
    let report = try await upgrade.done(.expand)
    #expect(report.lines.first?.contains("3 of its statements had taken effect before") == true)
    #expect(
        try await site.asSuperuser("SELECT n FROM trace ORDER BY 1").map { $0.text(0) } == [
            "1", "4", "9",
        ])
    #expect(try await site.asSuperuser("SELECT FROM sluice.progress").isEmpty)
    try await upgrade.done(.revertExpand)
    #expect(try await site.asSuperuser("SELECT FROM trace").isEmpty)
    await upgrade.close()
}

/// A function that says what it finds, and a role that is given something.
private let tellsItsSettings = """
    ;ALTER ROLE $owner SET maintenance_work_mem = '77MB';
    CREATE FUNCTION told(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
        'BEGIN RAISE NOTICE ''% %'', current_setting(''maintenance_work_mem''), current_setting(''work_mem''); RETURN $1; END'
    """

@Test(arguments: [
    ("SET work_mem = '33MB'", "77MB 33MB"),
    ("SET work_mem = '33MB' -- enough\n", "77MB 33MB"),
    ("SET maintenance_work_mem = '33MB'; SET work_mem TO DEFAULT", "33MB 4MB"),
    ("SET work_mem = '33MB'; SET work_mem = '34MB'; SELECT 1", "77MB 34MB"),
    ("SET work_mem = '33MB'; RESET work_mem", "77MB 4MB"),
    ("SET work_mem = '33MB'; SET maintenance_work_mem = '33MB'; RESET ALL", "77MB 4MB"),
    ("SET LOCAL work_mem = '33MB'", "77MB 4MB"),
    ("SET search_path = public, pg_temp; SET work_mem = '33MB'", "77MB 33MB"),
])
func aSetOfAFileReachesTheStatementsAfterItAndNoOther(sets: String, told: String) async throws {
    let site = try await Site.make(tellsItsSettings)
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                "-- sluice: expand transaction=none\n\(sets);CREATE INDEX CONCURRENTLY entry_told ON entry (told(name))"
            ),
            ("0002_b.up.sql", "-- sluice: expand\nSELECT told('x')")))
    let lines = try await upgrade.done(.expand).lines.filter { $0.contains("NOTICE") }
    let first = lines.filter { $0.hasPrefix("0001") }
    #expect(!first.isEmpty && first.allSatisfy { $0.contains("NOTICE: \(told)") }, "\(lines)")
    let next = lines.filter { $0.hasPrefix("0002") }
    #expect(!next.isEmpty && next.allSatisfy { $0.contains("NOTICE: 77MB 4MB") }, "\(lines)")
    await upgrade.close()
}

/// Whoever goes on with a file says again what it has set.
@Test
func aSetOfAFileReachesAStatementThatALaterCoordinatorRuns() async throws {
    let site = try await Site.make(tellsItsSettings)
    let files = try migrations(
        (
            "0001_a.up.sql",
            "-- sluice: expand\nSET work_mem = '33MB';\nCREATE INDEX CONCURRENTLY entry_told ON entry (told(name))"
        ))
    try await interruptIndex(site, site.upgrade(files))
    let next = site.upgrade(files)
    let lines = try await next.done(.expand, epoch: 2).lines
    #expect(lines.contains { $0.contains("NOTICE: 77MB 33MB") }, "\(lines)")
    await next.close()
}

@Test
func aSetOfAFileReachesItsBatches() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                """
                -- sluice: expand repeat=1ms
                SET work_mem = '33MB';
                UPDATE entry SET name = current_setting('work_mem') WHERE id IN (
                    SELECT id FROM entry WHERE name <> current_setting('work_mem') LIMIT 3)
                """
            )))
    try await upgrade.done(.expand)
    #expect(try await site.asSuperuser("SELECT FROM entry WHERE name = '33MB'").count == 10)
    await upgrade.close()
}

/// It needs no down file: what is set has ended with its session.
@Test
func aWayBackHasNothingToUndoOfASet() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                """
                -- sluice: expand
                SET search_path = pg_catalog, public; SET work_mem = '33MB';
                CREATE INDEX CONCURRENTLY entry_name ON entry (name);
                CREATE INDEX CONCURRENTLY entry_bad ON entry (nothing)
                """
            )))
    _ = try await upgrade.failure(.expand)
    try await upgrade.done(.revertExpand)
    #expect(try await site.asSuperuser("SELECT to_regclass('entry_name')")[0][0] == nil)
    await upgrade.close()
}

@Test
func aWayBackFromTheMiddleOfAFileUndoesWhatHasTakenEffectAndNoMoreIsNeeded() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                """
                -- sluice: expand transaction=none
                ALTER TABLE entry ADD COLUMN extra int;
                CREATE INDEX CONCURRENTLY entry_extra ON entry (extra);
                ALTER TABLE entry ADD COLUMN extra int;
                CREATE TABLE late (a int);
                """
            ),
            (
                "0001_a.down.sql",
                "-- sluice: transaction=none\nDROP TABLE late; DROP INDEX CONCURRENTLY entry_extra; ALTER TABLE entry DROP COLUMN extra"
            )))
    _ = try await upgrade.failure(.expand)
    let report = try await upgrade.done(.revertExpand)
    #expect(report.lines == ["undid 0001_a, of which 2 of 4 statements had taken effect"])
    #expect(
        try await site.asSuperuser(
            "SELECT FROM pg_attribute WHERE attrelid = 'entry'::regclass AND attname = 'extra'"
        ).isEmpty)
    await upgrade.close()
}

@Test
func aStatementThatTakesLongerThanThePlanAllowsIsStoppedInEveryPhase() async throws {
    for phase in ["expand", "switch", "contract", "expand transaction=none"] {
        let site = try await Site.make()
        let upgrade = site.upgrade(
            try migrations(("0001_a.up.sql", "-- sluice: \(phase)\nSELECT 1; SELECT pg_sleep(60)"))
        ) { $0.statementTimeout = .milliseconds(400) }
        let failure: DatabaseFailure
        switch phase {
        case "switch":
            try await upgrade.fenced()
            failure = try await upgrade.failure(.migrate)
        case "contract": failure = try await upgrade.failure(.contract)
        default: failure = try await upgrade.failure(.expand)
        }
        #expect(failure.code == "statement-timeout", "\(phase)")
        #expect(failure.message.hasPrefix("0001_a.up.sql:2:"))
        #expect(failure.advice?.contains("statement_timeout") == true)
        await upgrade.close()
    }
}

@Test
func pausesBetweenAttemptsAreLongerThanTheWaitsAndGrowToABound() async throws {
    let site = try await Site.make()
    let holder = try await site.connect(as: "$app")
    try await holder.execute("BEGIN; SELECT FROM entry")
    let upgrade = site.upgrade(
        try migrations(("0001_a.up.sql", "-- sluice: expand\nALTER TABLE entry ADD COLUMN a int"))
    ) {
        $0.patience = [.expand: .seconds(3)]
    }
    async let outcome = upgrade.perform(.expand)
    let reader = try await site.connect(as: "$app")
    try await reader.execute("SET lock_timeout = '900ms'")
    var waits = 0
    for _ in 0..<50 {
        if try await !site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event_type = 'Lock'"
        ).isEmpty {
            waits += 1
        }
        try await reader.execute("SELECT FROM entry")
        try await Task.sleep(for: .milliseconds(40))
    }
    guard case .failed(let failure) = await outcome else {
        Issue.record("the table was held")
        return
    }
    #expect(failure.code == "lock-timeout")
    #expect(failure.message.contains(site.application))
    #expect(waits < 35)
    await upgrade.close()
}

/// Begins to build an index and ends the session meanwhile.
private func interruptIndex(_ site: Site, _ upgrade: SchemaUpgrade) async throws {
    let writer = try await site.connect(as: "$app")
    try await writer.execute("BEGIN; INSERT INTO entry (name) VALUES ('x')")
    async let outcome = upgrade.perform(.expand)
    try await poll {
        try await !site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event_type = 'Lock' AND query ~ 'CONCURRENTLY'"
        ).isEmpty
    }
    try await site.asSuperuser(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$db' AND query ~ 'CREATE INDEX CONCURRENTLY' AND pid <> pg_backend_pid()"
    )
    guard case .failed(let failure) = await outcome else {
        Issue.record("its session was ended")
        return
    }
    #expect(failure.code == "connection-lost")
    await writer.close()
    await upgrade.close()
}
