// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private func set(_ files: (String, String)...) throws -> MigrationSet {
    try .read(files.map { .init(name: $0.0, text: $0.1) })
}

/// The tasks up to the migration.
private func fence(_ upgrade: SchemaUpgrade, epoch: Int64 = 1) async throws {
    try await upgrade.done(.expand, epoch: epoch)
    try await upgrade.done(.raiseFence, epoch: epoch)
    try await upgrade.done(.census, epoch: epoch)
}

@Test func theFileAndLineOfAFailureAreNamedAndNothingTakesEffect() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try set(
            ("0001_fine.up.sql", "CREATE TABLE fine (n integer)"),
            (
                "0002_wrong.up.sql",
                "-- sluice: trial=none\nSELECT 1;\n\n-- é\n  ALTER TABLE entry\n    ADD COLUMN x nope;"
            ))
    )
    try await fence(upgrade)
    let before = try await site.catalog()
    let failure = try await upgrade.failure(.migrate)
    #expect(failure.code == "sql")
    #expect(failure.effect == .none)
    #expect(failure.message.hasPrefix("0002_wrong.up.sql:6:18: "))
    #expect(
        failure.findings.first?.position == .init(file: "0002_wrong.up.sql", line: 6, column: 18))
    #expect(try await site.catalog() == before)
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
    try await upgrade.done(.lowerFence)
}

@Test func aDeferredConstraintSpeaksBeforeTheCommit() async throws {
    let site = try await Site.make(
        ";CREATE TABLE a (id integer PRIMARY KEY, b integer REFERENCES a DEFERRABLE INITIALLY DEFERRED);ALTER TABLE a OWNER TO $owner"
    )
    let upgrade = site.upgrade(
        try set(("0001_break.up.sql", "-- sluice: trial=none\nINSERT INTO a VALUES (1, 99)")))
    try await fence(upgrade)
    let failure = try await upgrade.failure(.migrate)
    #expect(failure.code == "sql")
    #expect(failure.message.contains("0001_break.up.sql"))
    try await upgrade.done(.lowerFence)
}

@Test func withoutFenceOrCensusNothingIsMigrated() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try set(("0001_x.up.sql", "CREATE TABLE x (n integer)")))
    try await upgrade.done(.expand)
    #expect(try await upgrade.failure(.migrate).code == "fence-down")
    try await upgrade.done(.raiseFence)
    #expect(try await upgrade.failure(.migrate).code == "fence-down")
    try await upgrade.done(.census)
    try await upgrade.done(.migrate)
    try await upgrade.done(.lowerFence)
}

@Test func editedMissingAndLateFilesAreRefused() async throws {
    let site = try await Site.make()
    let first = site.upgrade(
        try set(("0002_x.up.sql", "-- sluice: expand\nCREATE TABLE x (n integer)")))
    try await first.done(.expand)
    await first.close()
    let cases: [(MigrationSet, String)] = [
        (
            try set(("0002_x.up.sql", "-- sluice: expand\nCREATE TABLE x (n bigint)")),
            "migration-edited"
        ),
        (.empty, "migration-missing"),
        (
            try set(
                ("0001_late.up.sql", "-- sluice: expand\nSELECT 1"),
                ("0002_x.up.sql", "-- sluice: expand\nCREATE TABLE x (n integer)")),
            "migration-out-of-order"
        ),
        (
            try set(
                ("0002_x.up.sql", "-- sluice: expand\nCREATE TABLE x (n integer)"),
                ("0003_a.up.sql", "SELECT 1"),
                ("0004_b.up.sql", "-- sluice: expand\nSELECT 1")), "migration-out-of-order"
        ),
    ]
    for (migrations, code) in cases {
        let upgrade = site.upgrade(migrations)
        let failure = try await upgrade.failure(.expand, epoch: 2, run: "r2")
        #expect(failure.code == code)
        let preflight = try await upgrade.failure(.preflight, epoch: 2, run: "r2")
        #expect(preflight.findings.contains { $0.code == code })
        await upgrade.close()
    }
}

@Test func anotherRunDoesNotUndoWhatItDidNotApply() async throws {
    let site = try await Site.make()
    let migrations = try set(
        ("0001_x.up.sql", "-- sluice: expand\nCREATE TABLE x (n integer)"),
        ("0001_x.down.sql", "DROP TABLE x"))
    let upgrade = site.upgrade(migrations)
    try await upgrade.done(.expand, run: "r1")
    try await upgrade.done(.revertExpand, epoch: 2, run: "r2")
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").count == 1)
}

@Test func withoutADownFileNothingIsUndone() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try set(("0001_x.up.sql", "CREATE TABLE x (n integer)")))
    try await fence(upgrade)
    try await upgrade.done(.migrate)
    let failure = try await upgrade.failure(.revertMigrate)
    #expect(failure.code == "no-down-migration")
    #expect(failure.effect == .none)
}

@Test func aMigrationWhoseSessionIsEndedTakesNoEffect() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try set(
            (
                "0001_slow.up.sql",
                "CREATE TABLE half (n integer); SELECT pg_sleep(30); CREATE TABLE whole (n integer)"
            )))
    try await fence(upgrade)
    async let outcome = upgrade.perform(.migrate)
    try await site.whenSleeping { site in
        try await site.asSuperuser(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '$db'"
        )
    }
    guard case .failed(let failure) = await outcome else {
        Issue.record("it cannot be done")
        return
    }
    #expect(failure.code == "connection-lost")
    #expect(failure.effect == .none)
    #expect(
        try await site.asSuperuser("SELECT FROM pg_class WHERE relname IN ('half', 'whole')")
            .isEmpty)
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
    // The fence has held meanwhile, and the task may be asked for again.
    let application = try await site.connect(as: "$app")
    await #expect(throws: PostgresError.self) {
        try await application.execute("INSERT INTO entry (name) VALUES ('x')")
    }
    try await upgrade.done(.lowerFence)
}

@Test func aCommitWhoseAnswerWasLostIsFoundInTheLedger() async throws {
    let site = try await Site.make()
    // The commit takes effect on the server and then waits for a standby that does not exist.
    let upgrade = site.upgrade(
        try set(
            ("0001_x.up.sql", "CREATE TABLE x (n integer); SET LOCAL synchronous_commit = on"),
            ("0001_x.down.sql", "DROP TABLE x; SET LOCAL synchronous_commit = on")))
    try await fence(upgrade)
    for kind in [DatabaseTask.Kind.migrate, .revertMigrate] {
        async let outcome = upgrade.perform(kind)
        try await site.whenWaiting(for: "SyncRep") { site in
            try await site.asSuperuser(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = '$db'"
            )
        }
        guard case .done(let report) = await outcome else {
            Issue.record("\(kind): it took effect")
            return
        }
        #expect(report.versions == (kind == .migrate ? ["0001"] : []))
        #expect(report.lines.first?.contains("the ledger says that it took effect") == true)
    }
    try await upgrade.done(.lowerFence)
}

@Test func aMigrationCanBeStopped() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try set(("0001_slow.up.sql", "CREATE TABLE half (n integer); SELECT pg_sleep(30)")))
    try await fence(upgrade)
    async let outcome = upgrade.perform(.migrate)
    try await site.whenSleeping { _ in await upgrade.cancel() }
    guard case .failed(let failure) = await outcome else {
        Issue.record("it cannot be done")
        return
    }
    #expect(failure.code == "cancelled")
    #expect(failure.effect == .none)
    #expect(try await site.asSuperuser("SELECT FROM pg_class WHERE relname = 'half'").isEmpty)
    try await upgrade.done(.lowerFence)
}

@Test func aSecondTaskAtTheSameTimeIsRefused() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try set(("0001_slow.up.sql", "-- sluice: expand\nSELECT pg_sleep(30)")))
    async let outcome = upgrade.perform(.expand)
    try await site.whenSleeping { _ in
        let failure = try await upgrade.failure(.preflight)
        #expect(failure.code == "busy")
        await upgrade.cancel()
    }
    _ = await outcome
}

@Test func aDeadLeadersMigrationIsEndedByTheNext() async throws {
    let site = try await Site.make()
    let migrations = try set(
        (
            "0001_slow.up.sql",
            "SELECT pg_sleep(CASE WHEN current_setting('sluice.fast', true) = 'on' THEN 0 ELSE 30 END)"
        ))
    let dead = site.upgrade(migrations)
    try await fence(dead)
    async let outcome = dead.perform(.migrate)
    try await site.whenSleeping { site in
        try await site.asSuperuser("ALTER DATABASE $db SET sluice.fast = on")
        let next = site.upgrade(migrations)
        try await next.done(.migrate, epoch: 2)
        try await next.done(.lowerFence, epoch: 2)
    }
    guard case .failed(let failure) = await outcome else {
        Issue.record("it was replaced")
        return
    }
    #expect(failure.code == "superseded")
    let ledger = try await site.asSuperuser("SELECT epoch FROM sluice.migration")
    #expect(ledger.map { $0.text(0) } == ["2"])
}

@Test(arguments: [1, 2])
func statementsOutsideATransactionKeepOutOfAnotherRunsWindowOneByOne(count: Int) async throws {
    let site = try await Site.make()
    let indexes = (1...count).map { "CREATE INDEX CONCURRENTLY entry_\($0) ON entry (name);" }
    let upgrade = site.upgrade(
        try set(("0001_index.up.sql", "-- sluice: expand\n" + indexes.joined(separator: "\n")))
    ) {
        $0.lockTimeout = .seconds(30)
        $0.lockPatience = .seconds(60)
    }
    let writer = try await site.connect(as: "$app")
    try await writer.execute("BEGIN; INSERT INTO entry (name) VALUES ('x')")
    async let outcome = upgrade.perform(.expand)
    try await poll {
        try await !site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event_type = 'Lock' AND query ~ 'CONCURRENTLY'"
        ).isEmpty
    }
    // The first statement has begun; now another run raises its fence.
    try await site.asSuperuser(
        "INSERT INTO sluice.fence (state, run, epoch) VALUES ('up', 'r2', 1)")
    try await writer.execute("COMMIT")
    guard case .failed(let failure) = await outcome else {
        Issue.record("the fence is another run's")
        return
    }
    #expect(failure.code == "fence-held")
    #expect(try await site.asSuperuser("SELECT to_regclass('entry_2')")[0][0] == nil)
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
    // When that run has ended, the work is found done.
    try await site.asSuperuser("DELETE FROM sluice.fence")
    try await upgrade.done(.expand)
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").count == 1)
    await upgrade.close()
}

@Test
func aMigrationThatLetsGoOfEveryAdvisoryLockDoesNotTakeItsSessionsMarks() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try set(
            ("0001_unlock.up.sql", "-- sluice: expand\nSELECT pg_advisory_unlock_all();"),
            (
                "0002_fail.up.sql",
                "-- sluice: expand\nSELECT pg_advisory_unlock_all(), 1 / count(*) FROM entry;"
            )
        ))
    let marks = """
        SELECT FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = '$db')
        """
    try await upgrade.done(.expand)
    #expect(try await site.asSuperuser(marks).count == 2)
    // No rollback takes it back either.
    try await site.asSuperuser(
        "DELETE FROM sluice.migration WHERE version = '0002'; DELETE FROM entry")
    #expect(try await upgrade.failure(.expand).code == "sql")
    #expect(try await site.asSuperuser(marks).count == 2)
    await upgrade.close()
}

@Test func anOnlineMigrationGivesUpOnABusyTableNamesWhoHasItAndWorksLater() async throws {
    let site = try await Site.make()
    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN; SELECT * FROM entry")
    let upgrade = site.upgrade(try .guestbook()) {
        $0.lockTimeout = .milliseconds(20)
        $0.lockPatience = .milliseconds(200)
    }
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "lock-timeout")
    #expect(failure.message.contains(site.application))
    await reader.close()
    try await upgrade.done(.expand)
}

extension Site {
    /// Waits until the migration sleeps, then does something.
    fileprivate func whenSleeping(_ body: (Site) async throws -> Void) async throws {
        try await whenWaiting(for: "PgSleep", body)
    }

    fileprivate func whenWaiting(for event: String, _ body: (Site) async throws -> Void)
        async throws
    {
        let deadline = ContinuousClock.now.advanced(by: .seconds(20))
        while try await asSuperuser(
            "SELECT FROM pg_stat_activity WHERE wait_event = '\(event)' AND datname = '$db'"
        ).isEmpty {
            if ContinuousClock.now >= deadline {
                let sessions = try await asSuperuser(
                    """
                    SELECT format('%s %s %s/%s since %s: %s', pid, state, wait_event_type, wait_event,
                        clock_timestamp() - state_change, left(query, 200))
                    FROM pg_stat_activity WHERE datname = '$db' AND pid <> pg_backend_pid()
                    """)
                Issue.record(
                    "nobody ever waited for \(event): \(sessions.map { $0.text(0) })")
                throw CancellationError()
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        try await body(self)
    }
}
