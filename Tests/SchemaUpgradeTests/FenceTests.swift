// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

@Test func everythingIsIdenticalAfterTheFence() async throws {
    let site = try await Site.makeAttacked()
    try await site.asSuperuser(
        """
        CREATE ROLE "odd ""role= /x" LOGIN; GRANT INSERT, UPDATE ON entry TO "odd ""role= /x" WITH GRANT OPTION;
        ALTER ROLE off_$db IN DATABASE $db SET default_transaction_read_only = off;
        ALTER ROLE off_$db IN DATABASE $db SET work_mem = '5MB';
        ALTER DATABASE $db SET default_transaction_read_only = off;
        REVOKE ALL ON held FROM holder_$db;
        GRANT EXECUTE ON FUNCTION lo_create(oid) TO $app;
        """)
    let before = try (await site.catalog(), site.schemaDump())
    let upgrade = site.upgrade { $0.readOnlyDefault = true }
    try await upgrade.done(.raiseFence)
    let fenced = try await site.catalog()
    #expect(fenced != before.0)
    let setting = try await site.connect(as: "off_$db").query("SHOW default_transaction_read_only")
    #expect(setting[0].text(0) == "on")
    let proof = try await upgrade.done(.census).census
    #expect(proof?.ended == [])
    try await upgrade.done(.lowerFence)
    let after = try (await site.catalog(), site.schemaDump())
    #expect(Set(after.0).symmetricDifference(before.0) == [])
    #expect(after.1 == before.1)
    try await site.asSuperuser(
        "REVOKE ALL ON entry FROM \"odd \"\"role= /x\"; DROP ROLE \"odd \"\"role= /x\"")
}

@Test func aRollbackFromAnyPointLeavesTheSchemaByteForByte() async throws {
    let forward: [DatabaseTask.Kind] = [.expand, .raiseFence, .census, .migrate]
    for reached in 0...forward.count {
        let site = try await Site.makeAttacked()
        let before = try (await site.catalog(), site.schemaDump())
        let upgrade = site.upgrade(try .guestbook())
        for kind in forward.prefix(reached) { try await upgrade.done(kind) }
        for kind in [DatabaseTask.Kind.revertMigrate, .lowerFence, .revertExpand] {
            try await upgrade.done(kind)
        }
        #expect(try site.schemaDump() == before.1, "after \(reached) steps")
        // Columns that came and went leave their numbers behind.
        let after = try await site.catalog()
        let left = Set(after).symmetricDifference(before.0).filter {
            !$0.contains("........pg.dropped.")
        }
        #expect(left == [], "after \(reached) steps")
        if reached > 0 {
            #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
        }
        let application = try await site.connect(as: "$app")
        try await application.execute("INSERT INTO entry (name) VALUES ('after')")
    }
}

@Test func everyTaskMayBeRepeated() async throws {
    let site = try await Site.make()
    let before = try site.schemaDump()
    try await site.asSuperuser("GRANT $owner TO $app")
    func withTool(_ configuration: inout SchemaUpgrade.Configuration) {
        configuration.tool = .init(ledger: ToolLedger(.rails), phases: [.expand, .contract])
    }
    let upgrade = site.upgrade(try .guestbook(), change: withTool)
    // Each kind twice, by this instance and by one that knows nothing.
    let order: [DatabaseTask.Kind] = [
        .preflight, .compareSchema, .readPreview, .expand, .judgeExpand, .raiseFence, .census,
        .migrate, .openPass,
        .closePass, .settlePass, .openRevertPass, .closeRevertPass, .leaveOut, .revertMigrate,
        .lowerFence,
        .settleExpand, .judgeRevertExpand, .revertExpand,
        .expand, .raiseFence, .census, .migrate, .lowerFence, .contract, .judgeContract,
    ]
    #expect(Set(order) == Set(DatabaseTask.Kind.allCases).subtracting(DatabaseTask.Kind.ofStandby))
    for (index, kind) in order.enumerated() {
        let first = try await upgrade.done(kind, attempt: 1)
        let state = try await site.catalog()
        let again = try await upgrade.done(kind, attempt: 2)
        #expect(again.versions == first.versions, "\(kind)")
        let stranger = site.upgrade(try .guestbook(), change: withTool)
        let third = try await stranger.done(kind, attempt: 3)
        #expect(third.versions == first.versions, "\(kind)")
        await stranger.close()
        #expect(try await site.catalog() == state, "\(kind)")
        if index == order.firstIndex(of: .revertExpand) { #expect(try site.schemaDump() == before) }
    }
}

@Test func aNewCoordinatorLowersTheFenceOfADeadOne() async throws {
    let site = try await Site.make()
    let before = try await site.catalog()
    let first = site.upgrade()
    try await first.done(.raiseFence, epoch: 4)
    await first.close()
    let second = site.upgrade()
    try await second.done(.lowerFence, epoch: 5)
    let left = Set(try await site.catalog()).symmetricDifference(before)
    #expect(left == [])
}

@Test(arguments: DatabaseTask.Kind.allCases)
func aReplacedLeaderChangesNothing(kind: DatabaseTask.Kind) async throws {
    let site = try await Site.make()
    let leader = site.upgrade(try .guestbook())
    try await leader.done(.expand, epoch: 7)
    if [.census, .migrate, .lowerFence, .revertMigrate].contains(kind) {
        try await leader.done(.raiseFence, epoch: 7)
    }
    if [.migrate, .revertMigrate].contains(kind) { try await leader.done(.census, epoch: 7) }
    if kind == .revertMigrate { try await leader.done(.migrate, epoch: 7) }
    if kind == .revertMigrate { try await leader.done(.lowerFence, epoch: 7) }
    let state = try await site.catalog()
    // Both while the new leader is connected and when only the epoch's row is left of it.
    for _ in 0..<2 {
        let stale = site.upgrade(try .guestbook())
        let failure = try await stale.failure(kind, epoch: 6)
        #expect(failure.code == "superseded")
        #expect(failure.effect == .none)
        await stale.close()
        await leader.close()
        #expect(try await site.catalog() == state)
    }
}

@Test func aTransactionOlderThanTheFenceIsEndedAndNamed() async throws {
    let site = try await Site.make()
    let old = try await site.connect(as: "$app")
    try await old.execute("BEGIN; INSERT INTO entry (name) VALUES ('secret-value')")
    let idle = try await site.connect(as: "$app")
    let upgrade = site.upgrade()
    try await upgrade.done(.raiseFence)
    let proof = try await upgrade.done(.census).census
    #expect(proof?.ended.count == 1)
    #expect(proof?.ended.first?.contains(site.application) == true)
    #expect(proof?.ended.first?.contains("secret-value") == false)
    await #expect(throws: PostgresError.self) { try await old.execute("COMMIT") }
    #expect(try await idle.query("SELECT count(*) FROM entry")[0].text(0) == "10")
    try await upgrade.done(.lowerFence)
}

@Test func turningBackLeavesStragglersAliveAndTheFenceDown() async throws {
    let site = try await Site.make()
    let before = try await site.catalog()
    let old = try await site.connect(as: "$app")
    try await old.execute("BEGIN; INSERT INTO entry (name) VALUES ('x')")
    let upgrade = site.upgrade { $0.stragglers = .turnBack }
    let failure = try await upgrade.failure(.raiseFence)
    #expect(failure.code == "stragglers")
    #expect(failure.effect == .none)
    #expect(failure.message.contains(site.application))
    try await old.execute("COMMIT")
    #expect(try await site.catalog() == before)

    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN; SELECT * FROM entry")
    try await upgrade.done(.raiseFence)
    #expect(try await upgrade.failure(.census).code == "stragglers")
    try await reader.execute("COMMIT")
    try await upgrade.done(.census)
    try await upgrade.done(.lowerFence)
}

@Test func aReaderOfATableDoesNotHoldUpTheLift() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade()
    try await upgrade.done(.raiseFence)
    try await upgrade.done(.census)
    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN; SELECT * FROM entry")
    let report = try await upgrade.done(.lowerFence)
    #expect(report.lines.count == 2)
    let writer = try await site.connect(as: "$app")
    try await writer.execute("INSERT INTO entry (name) VALUES ('while somebody reads')")
    try await reader.execute("COMMIT")
    try await upgrade.done(.contract)
    #expect(
        try await site.asSuperuser("SELECT FROM pg_trigger WHERE tgname LIKE '%sluice%'").isEmpty)
    #expect(try await site.asSuperuser("SELECT FROM sluice.fence").isEmpty)
}

@Test func preparedTransactionsAndSharedMigratorsAreRefused() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade()
    let application = try await site.connect(as: "$app")
    try await application.execute("BEGIN; INSERT INTO entry (name) VALUES ('x')")
    try await application.execute("PREPARE TRANSACTION 'pending_\(site.database)'")
    let failure = try await upgrade.failure(.raiseFence)
    #expect(failure.code == "prepared-transactions")
    #expect(failure.message.contains("'pending_\(site.database)'"))
    try await application.execute("COMMIT PREPARED 'pending_\(site.database)'")
    let shared = try await site.connect(as: "$migrator")
    #expect(try await upgrade.failure(.raiseFence).code == "migrator-shared")
    await shared.close()
    #expect(try await site.asSuperuser("SELECT FROM sluice.fence").isEmpty)
}

@Test func writersInOtherDatabasesDoNotHoldUpTheCensus() async throws {
    let site = try await Site.make()
    let other = try await Site.make()
    let writer = try await other.connect(as: "$app")
    try await writer.execute("BEGIN; INSERT INTO entry (name) VALUES ('elsewhere')")
    let upgrade = site.upgrade()
    try await upgrade.done(.raiseFence)
    try await upgrade.done(.census)
    try await upgrade.done(.lowerFence)
    try await writer.execute("COMMIT")
}

@Test func aThousandTablesAreFencedAndFreed() async throws {
    let site = try await Site.make(
        """
        ;DO $x$ BEGIN FOR n IN 1..1000 LOOP
            EXECUTE format('CREATE TABLE t%s (id integer); GRANT ALL ON t%s TO $app', n, n);
        END LOOP; END $x$;
        """)
    let before = try await site.catalog()
    let upgrade = site.upgrade()
    try await upgrade.done(.expand)
    let clock = ContinuousClock()
    for kind in [DatabaseTask.Kind.raiseFence, .census, .lowerFence, .revertExpand] {
        let began = clock.now
        let report = try await upgrade.done(kind)
        print("1,000 tables: \(kind) \(began.duration(to: clock.now)) \(report.lines)")
        if kind == .census {
            let application = try await site.connect(as: "$app")
            await #expect(throws: PostgresError.self) {
                try await application.execute("INSERT INTO t1000 VALUES (1)")
            }
        }
    }
    let left = Set(try await site.catalog()).symmetricDifference(before)
    #expect(left == [])
}

@Test func aFenceThatWasHalfUpIsCompletedByTheNext() async throws {
    let site = try await Site.makeAttacked()
    let before = try await site.catalog()
    let first = site.upgrade { $0.readOnlyDefault = true }
    try await first.done(.raiseFence)
    await first.close()
    // As if the coordinator had died before the triggers were there.
    let migrator = try await site.connect(as: "$migrator")
    try await migrator.execute("SET default_transaction_read_only = off")
    try await migrator.execute(
        """
        SET search_path = pg_catalog; UPDATE sluice.fence SET state = 'raising', older = NULL;
        DROP TRIGGER "!sluice_fence" ON public.entry; DROP TRIGGER "!sluice_fence" ON public.held
        """)
    await migrator.close()
    let second = site.upgrade { $0.readOnlyDefault = true }
    try await second.done(.raiseFence, epoch: 2)
    try await second.done(.census, epoch: 2)
    let owner = try await site.connect(as: "holder_$db")
    await #expect(throws: PostgresError.self) {
        try await owner.execute("INSERT INTO held VALUES (1)")
    }
    try await second.done(.lowerFence, epoch: 2)
    let left = Set(try await site.catalog()).symmetricDifference(before)
    #expect(left == [])
}

/// The coordinator is replaced by a newer one in the middle of a run.
@Test(arguments: ["raising", "up", "lifting"])
func aFenceOfVersion1IsTakenOver(state: String) async throws {
    let site = try await Site.makeAttacked()
    let before = try await site.catalog()
    let older = try await site.connect(as: "$migrator")
    try await older.execute("SET search_path = pg_catalog")
    try await older.execute(FenceSchemaVersion1.install)
    try await older.execute(FenceSchemaVersion1.raise(migrator: site.migrator))
    if state != "raising" { try await older.execute(FenceSchemaVersion1.complete) }
    if state == "lifting" { try await older.execute(FenceSchemaVersion1.lift) }
    await older.close()

    let newer = site.upgrade()
    let application = try await site.connect(as: "$app")
    if state == "lifting" {
        try await newer.done(.preflight, run: "r2")
        try await application.execute("INSERT INTO entry (name) VALUES ('open')")
    } else {
        #expect(try await newer.failure(.preflight, run: "r2").code == "fence-held")
        if state == "raising" { try await newer.done(.raiseFence, epoch: 2) }
        try await newer.done(.census, epoch: 2)
        await #expect(throws: PostgresError.self) {
            try await application.execute("INSERT INTO entry (name) VALUES ('closed')")
        }
    }
    try await newer.done(.lowerFence, epoch: 2)
    let left = Set(try await site.catalog()).symmetricDifference(before)
    #expect(left == [])
    try await application.execute("INSERT INTO entry (name) VALUES ('open')")
    let schema = try await site.asSuperuser(
        "SELECT obj_description('sluice'::regnamespace), to_regproc('sluice.unfence_tables')")[0]
    #expect(schema.cells == ["Sluice: epoch, ledger and fence, 8", nil])
    #expect(try await site.asSuperuser("SELECT FROM sluice.fence").isEmpty)
    await newer.close()
}

/// The newer coordinator is taken away again in the middle of a run.
@Test(arguments: ["9", "10", "8b", "9 by a member of the owners"])
func aFenceThatANewerVersionRaisedIsLeftAlone(version: String) async throws {
    let site = try await Site.make()
    let newer = site.upgrade()
    try await newer.done(.raiseFence)
    await newer.close()
    let migrator = try await site.connect(as: "$migrator")
    try await migrator.execute(
        "COMMENT ON SCHEMA sluice IS 'Sluice: epoch, ledger and fence, \(version)'")
    await migrator.close()
    let comment = "SELECT obj_description('sluice'::regnamespace)"
    let before = try await site.asSuperuser(comment)[0].text(0)
    let older = site.upgrade()
    for kind in DatabaseTask.Kind.allCases {
        let failure = try await older.failure(kind, epoch: 2)
        #expect(failure.code == "schema-newer", "\(kind)")
        #expect(failure.effect == .none)
    }
    #expect(try await site.asSuperuser(comment)[0].text(0) == before)
    #expect(
        try await site.asSuperuser("SELECT state, epoch FROM sluice.fence")[0].cells == ["up", "1"])
    await older.close()
}

/// The statements of docs/database.md, for when nothing but the database is left.
///
/// The next task of a run that looks at the fence gives back what those do not: memberships and settings.
@Test(arguments: [DatabaseTask.Kind.lowerFence, .contract, .revertExpand])
func theFenceCanBeLoweredByHand(next: DatabaseTask.Kind) async throws {
    let site = try await Site.make(
        """
        ;GRANT pg_write_all_data TO $app WITH ADMIN OPTION;
        ALTER ROLE $app IN DATABASE $db SET default_transaction_read_only = off;
        """)
    let before = try await site.catalog()
    let upgrade = site.upgrade { $0.readOnlyDefault = true }
    try await upgrade.done(.raiseFence)
    await upgrade.close()
    let migrator = try await site.connect(as: "$migrator")
    for statement in [
        "SET search_path = pg_catalog", "SET default_transaction_read_only = off", "BEGIN",
        "SELECT sluice.open_rights()",
        "DROP EVENT TRIGGER IF EXISTS sluice_fence",
        "CREATE OR REPLACE FUNCTION sluice.refuse_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "UPDATE sluice.fence SET state = 'lifting'", "COMMIT",
    ] {
        try await migrator.execute(statement)
    }
    await migrator.close()
    let application = try await site.connect(as: "$app")
    try await application.execute("SET default_transaction_read_only = off")
    try await application.execute("INSERT INTO entry (name) VALUES ('open again')")
    let stored = try await site.asSuperuser("SELECT DISTINCT kind FROM sluice.stored ORDER BY 1")
    #expect(stored.map { $0.text(0) } == ["members", "setting"])
    try await upgrade.done(next)
    let left = Set(try await site.catalog()).symmetricDifference(before)
    #expect(left == [])
}

/// Roles are the server's: no trigger of a database sees them go.
@Test func aRoleThatIsDroppedInTheWindowDoesNotKeepTheFenceUp() async throws {
    let site = try await Site.make()
    let before = try await site.catalog()
    try await site.asSuperuser(
        """
        CREATE ROLE gone_$db; GRANT pg_write_all_data TO gone_$db;
        ALTER ROLE gone_$db IN DATABASE $db SET default_transaction_read_only = off;
        """)
    let upgrade = site.upgrade { $0.readOnlyDefault = true }
    try await upgrade.done(.raiseFence)
    try await site.asSuperuser("DROP ROLE gone_$db")
    // Half up, it is raised again.
    try await site.asSuperuser("UPDATE sluice.fence SET state = 'raising'")
    try await upgrade.done(.raiseFence)
    try await upgrade.done(.lowerFence)
    let left = Set(try await site.catalog()).symmetricDifference(before)
    #expect(left == [])
    await upgrade.close()
}

@Test func aRunNeverTakesDownAnotherRunsFence() async throws {
    let site = try await Site.make()
    let first = site.upgrade(.empty)
    for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] { try await first.done(kind) }
    let second = site.upgrade(.empty)
    // The second run's way back, whatever of the way there it had reached.
    try await second.done(.lowerFence, run: "r2")
    #expect(try await second.failure(.census, run: "r2").code == "fence-held")
    let application = try await site.connect(as: "$app")
    await #expect(throws: PostgresError.self) {
        try await application.execute("INSERT INTO entry (name) VALUES ('x')")
    }
    // Nor did it end the first run's session.
    try await first.done(.lowerFence)
    try await application.execute("INSERT INTO entry (name) VALUES ('x')")
    await second.close()
}

@Test(arguments: [DatabaseTask.Kind.preflight, .expand, .census, .migrate])
func aRunKeepsOutOfAnotherRunsWindow(kind: DatabaseTask.Kind) async throws {
    let site = try await Site.make()
    let first = site.upgrade()
    try await first.done(.raiseFence, run: "r1")
    try await first.done(.census, run: "r1")
    let fenced = try await site.catalog()
    let session =
        "SELECT pid FROM pg_stat_activity WHERE datname = '$db' AND application_name LIKE 'sluice r1 %'"
    let before = try await site.asSuperuser(session).map { $0.text(0) }
    let second = site.upgrade(try .guestbook())
    #expect(try await second.failure(kind, run: "r2").code == "fence-held")
    await second.close()
    #expect(try await site.catalog() == fenced)
    #expect(before.count == 1)
    #expect(try await site.asSuperuser(session).map { $0.text(0) } == before)
    try await first.done(.lowerFence, run: "r1")
}
