// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private func lowering(_ proof: CensusProof?, attempt: Int = 1) -> DatabaseTask {
    DatabaseTask(
        kind: .lowerFence, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
        attempt: attempt, proof: proof)
}

/// What is left of the old release in the database, just before writes open.
@Suite struct OldSessionTests {
    @Test
    func aTransactionThatBeganOnTheOldSchemaHasEndedBeforeWritesOpen() async throws {
        let site = try await Site.make(
            ";CREATE ROLE report_$db LOGIN; GRANT SELECT ON entry TO report_$db;"
                + "ALTER DEFAULT PRIVILEGES FOR ROLE $owner GRANT SELECT ON TABLES TO report_$db")
        let upgrade = site.upgrade(try .guestbook()) { $0.drainTimeout = .milliseconds(100) }
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        let old = try await site.connect(as: "$app")
        try await old.execute("BEGIN; SELECT 1")
        let reader = try await site.connect(as: "report_$db")
        try await reader.execute("BEGIN; SELECT 1")
        try await upgrade.done(.migrate)
        let new = try await site.connect(as: "$app")
        try await new.execute("BEGIN; SELECT first FROM entry")
        guard case .done(let report) = await upgrade.perform(lowering(proof)) else {
            Issue.record("the fence could not be lowered")
            return
        }
        #expect(
            report.lines.count { $0.hasPrefix("ended, because it began on the old schema") } == 1,
            "\(report.lines)")
        await #expect(throws: PostgresError.self) { try await old.execute("COMMIT") }
        try await new.execute("UPDATE entry SET first = 'new'; COMMIT")
        try await reader.execute("COMMIT")
        for session in [old, new, reader] { await session.close() }
        await upgrade.close()
    }

    @Test
    func whereThePlanEndsNobodyWritesStayClosedWhileSuchATransactionLasts() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(try .guestbook()) {
            $0.drainTimeout = .milliseconds(50)
            $0.stragglers = .turnBack
        }
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        let old = try await site.connect(as: "$app")
        try await old.execute("BEGIN; SELECT 1")
        try await upgrade.done(.migrate)
        guard case .failed(let failure) = await upgrade.perform(lowering(proof)) else {
            Issue.record("the fence was lowered")
            return
        }
        #expect(failure.code == "stragglers")
        #expect(failure.message.contains(site.application))
        let error = await #expect(throws: PostgresError.self) {
            try await old.execute("UPDATE entry SET name = 'x'")
        }
        #expect(error?.sqlState == "25006")
        try await old.execute("ROLLBACK")
        guard case .done = await upgrade.perform(lowering(proof, attempt: 2)) else {
            Issue.record("the fence could not be lowered")
            return
        }
        await old.close()
        await upgrade.close()
    }

    @Test(arguments: [true, false])
    func sessionsThatAreOlderThanTheWindowAreNamedOrEnded(ends: Bool) async throws {
        let site = try await Site.make(
            ";CREATE ROLE report_$db LOGIN; GRANT SELECT ON entry TO report_$db;"
                + "ALTER DEFAULT PRIVILEGES FOR ROLE $owner GRANT SELECT ON TABLES TO report_$db")
        let upgrade = site.upgrade(try .guestbook()) { $0.endsOldSessions = ends }
        try await upgrade.done(.expand)
        let pool = [try await site.connect(as: "$app"), try await site.connect(as: "$app")]
        for session in pool { try await session.execute("SELECT 1") }
        let reader = try await site.connect(as: "report_$db")
        try await upgrade.done(.raiseFence)
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        let new = try await site.connect(as: "$app")
        guard case .done(let report) = await upgrade.perform(lowering(proof)) else {
            Issue.record("the fence could not be lowered")
            return
        }
        let named = site.named("2 sessions of role $app, application application")
        #expect(
            report.lines.contains {
                $0.hasPrefix(ends ? "ended, because older" : "older than the window")
                    && $0.contains(named)
            }, "\(report.lines)")
        for session in pool {
            if ends {
                await #expect(throws: PostgresError.self) { try await session.execute("SELECT 1") }
            } else {
                try await session.execute("SELECT 1")
            }
        }
        try await new.execute("INSERT INTO entry (name) VALUES ('new')")
        try await reader.execute("SELECT 1")
        for session in pool + [reader, new] { await session.close() }
        await upgrade.close()
    }

    /// A migrator that is no superuser has them as well: what looks on whom a migration waits, for one.
    @Test(arguments: [true, false])
    func otherSessionsOfTheMigratorAreNoneOfTheOldRelease(ends: Bool) async throws {
        let site = try await Site.make(level: .owner)
        let upgrade = site.upgrade(try .guestbook()) { $0.endsOldSessions = ends }
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        // A stranger's would be refused when the fence is raised, so it comes now, and the fence is said to have come later.
        let own = try await site.connect(as: "$migrator")
        try await site.asSuperuser("UPDATE sluice.fence SET raised_at = clock_timestamp()")
        guard case .done(let report) = await upgrade.perform(lowering(proof)) else {
            Issue.record("the fence could not be lowered")
            return
        }
        let named = report.lines.filter { $0.contains(site.named("$migrator")) }
        #expect(named == [], "\(report.lines)")
        try await own.execute("SELECT 1")
        await own.close()
        await upgrade.close()
    }

    @Test
    func preflightNamesWhatASecondReleaseAndReadersWithASessionWouldMeet() async throws {
        let site = try await Site.make(
            """
            ;ALTER ROLE $app CONNECTION LIMIT 3;
            CREATE TABLE member (id serial, last_seen_at timestamptz, view_count integer); INSERT INTO member DEFAULT VALUES;
            CREATE TABLE user_sessions (id integer); CREATE SCHEMA pgbouncer;
            UPDATE member SET last_seen_at = now(); 
            """)
        let pool = [try await site.connect(as: "$app"), try await site.connect(as: "$app")]
        try await pool[0].execute("DISCARD ALL")
        let upgrade = site.upgrade()
        try await poll {
            let found = try await upgrade.done(.preflight).warnings
            return found.contains { $0.message.contains("member.last_seen_at") }
        }
        let found = try await upgrade.done(.preflight).warnings
        for (code, words) in [
            ("connection-limit", "may have 3 connections, and has 2"),
            ("pooler-behind", "schema pgbouncer"),
            ("pooler-behind", "whose last statement was DISCARD ALL"),
            ("session-table", "user_sessions"),
        ] {
            #expect(
                found.contains { $0.code == code && $0.message.contains(words) },
                "\(code): \(found.map(\.message))")
        }
        #expect(found.count { $0.code == "connection-limit" } == 1)
        await upgrade.close()
        // Where the plan holds who has a session, only what everybody writes is left.
        let held = site.upgrade { $0.holdsSessions = true }
        let left = try await held.done(.preflight).warnings.filter { $0.code == "session-table" }
        #expect(left.map { $0.message.contains("member.view_count") } == [true], "\(left)")
        await held.close()
        for session in pool { await session.close() }
    }
}
