// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private let report = """
    ;CREATE ROLE report_$db LOGIN; CREATE ROLE readers_$db; GRANT readers_$db TO report_$db; GRANT SELECT ON entry TO readers_$db;
    """
private let backup = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM entry"

/// Old transactions of those who cannot write.
@Suite struct ReaderTests {
    @Test(arguments: [true, false])
    func aRoleThatCannotWriteIsNeitherWaitedForNorEndedAndNamed(terminates: Bool) async throws {
        let site = try await Site.make(report)
        let upgrade = site.upgrade {
            $0.drainTimeout = .milliseconds(100)
            $0.stragglers = terminates ? .terminate : .turnBack
        }
        let reader = try await site.connect(as: "report_$db")
        try await reader.execute(backup)
        let other = try await site.connect(as: "report_$db")
        try await other.execute("BEGIN; DECLARE c CURSOR FOR SELECT * FROM entry; FETCH 1 FROM c")
        try await Task.sleep(for: .milliseconds(150))
        let warnings = try await upgrade.done(.preflight).warnings.filter {
            $0.code == "long-transaction"
        }
        #expect(warnings.count == 2)
        #expect(warnings.allSatisfy { $0.advice?.contains("left alone") == true }, "\(warnings)")
        try await upgrade.done(.raiseFence)
        let census = try await upgrade.done(.census)
        #expect(census.census?.ended == [])
        #expect(
            census.lines.count { $0.hasPrefix("left alone") && $0.contains("report_") } == 2,
            "\(census.lines)")
        try await upgrade.done(.migrate)
        try await upgrade.done(.lowerFence)
        // Their locks keep triggers from going; the next run takes these over.
        let lines = try await upgrade.done(.contract).lines
        #expect(lines.contains { $0.contains("until the next run") }, "\(lines)")
        let application = try await site.connect(as: "$app")
        try await application.execute("INSERT INTO entry (name) VALUES ('after')")
        #expect(try await reader.execute("SELECT count(*) FROM entry")[0].text(0) == "10")
        for session in [reader, other] {
            try await session.execute("COMMIT")
            await session.close()
        }
        await application.close()
        try await upgrade.done(.raiseFence, run: "r2")
        try await upgrade.done(.census, run: "r2")
        try await upgrade.done(.lowerFence, run: "r2")
        try await upgrade.done(.contract, run: "r2")
        let left = try await site.asSuperuser(
            "SELECT FROM pg_trigger WHERE tgname = '!sluice_fence'")
        #expect(left.isEmpty)
        await upgrade.close()
    }

    @Test(arguments: [
        "GRANT INSERT ON entry TO report_$db", "GRANT UPDATE (name) ON entry TO readers_$db",
        "GRANT DELETE ON entry TO PUBLIC",
        "GRANT USAGE ON SEQUENCE entry_id_seq TO readers_$db",
        "GRANT USAGE ON SEQUENCE entry_id_seq TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT CREATE ON DATABASE $db TO report_$db", "GRANT $owner TO report_$db",
        "GRANT pg_write_all_data TO readers_$db", "ALTER ROLE readers_$db CREATEROLE",
        "CREATE TABLE theirs (n integer); ALTER TABLE theirs OWNER TO report_$db",
        "ALTER DATABASE $db OWNER TO report_$db", "ALTER SCHEMA public OWNER TO readers_$db",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "SELECT lo_create(77); GRANT UPDATE ON LARGE OBJECT 77 TO report_$db",
    ])
    func whoCouldWriteInAnyWayIsNoReader(right: String) async throws {
        let site = try await Site.make(report)
        try await site.asSuperuser(right)
        let reader = try await site.connect(as: "report_$db")
        try await reader.execute(backup)
        let upgrade = site.upgrade { $0.drainTimeout = .milliseconds(50) }
        try await upgrade.done(.raiseFence)
        let census = try await upgrade.done(.census)
        #expect(census.census?.ended.count == 1, "\(census.lines)")
        try await upgrade.done(.lowerFence)
        await reader.close()
        await upgrade.close()
    }

    @Test
    func whatThePlanVouchesForIsLeftAloneUntilItHasWrittenAndNoLonger() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade {
            $0.drainTimeout = .milliseconds(50)
            $0.readers = [site.owner, site.application]
        }
        let backup = try await site.connect(as: "$app")
        try await backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM entry")
        let writing = try await site.connect(as: "$app")
        try await writing.execute("BEGIN; INSERT INTO entry (name) VALUES ('x')")
        let locking = try await site.connect(as: "$app")
        try await locking.execute("BEGIN; LOCK TABLE entry IN ROW SHARE MODE")
        try await upgrade.done(.raiseFence)
        let census = try await upgrade.done(.census)
        #expect(census.lines.count { $0.hasPrefix("left alone") } == 1, "\(census.lines)")
        #expect(try await site.asSuperuser("SELECT FROM entry").count == 10)
        let error = await #expect(throws: PostgresError.self) {
            try await backup.execute("UPDATE entry SET name = 'x'")
        }
        #expect(error?.sqlState == "25006")
        try await upgrade.done(.lowerFence)
        for session in [backup, writing, locking] { await session.close() }
        await upgrade.close()
    }

    @Test
    func aReaderInAMigrationsWayIsEndedAndNamedUnlessThePlanEndsNobody() async throws {
        let site = try await Site.make(report)
        let set = try migrations(("0001_x.up.sql", "ALTER TABLE entry ADD COLUMN x integer"))
        let patient = site.upgrade(set) {
            $0.lockPatience = .milliseconds(600)
            $0.drainTimeout = .milliseconds(50)
            $0.stragglers = .turnBack
        }
        let reader = try await site.connect(as: "report_$db")
        try await reader.execute(backup)
        try await patient.done(.raiseFence)
        try await patient.done(.census)
        let failure = try await patient.failure(.migrate)
        #expect(failure.code == "lock-timeout")
        #expect(failure.message.contains("report_"), "\(failure.message)")
        await patient.close()
        let ending = site.upgrade(set) { $0.drainTimeout = .milliseconds(50) }
        let migrated = try await ending.done(.migrate, attempt: 2)
        #expect(
            migrated.lines.contains {
                $0.hasPrefix("ended, because a migration waited") && $0.contains("report_")
            }, "\(migrated.lines)")
        try await ending.done(.lowerFence, attempt: 2)
        await #expect(throws: PostgresError.self) { try await reader.execute("COMMIT") }
        await reader.close()
        await ending.close()
    }

    @Test
    func thePlanMayEndReadersLikeWriters() async throws {
        let site = try await Site.make(report)
        let reader = try await site.connect(as: "report_$db")
        try await reader.execute(backup)
        let upgrade = site.upgrade {
            $0.sparesReaders = false
            $0.drainTimeout = .milliseconds(50)
        }
        try await upgrade.done(.raiseFence)
        #expect(try await upgrade.done(.census).census?.ended.count == 1)
        try await upgrade.done(.lowerFence)
        await reader.close()
        await upgrade.close()
    }
}
