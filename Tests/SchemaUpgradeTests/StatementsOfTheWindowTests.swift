// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private func lowering(_ proof: CensusProof? = nil) -> DatabaseTask {
    DatabaseTask(
        kind: .lowerFence, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
        attempt: 1, proof: proof)
}

/// A function that reads for as long as the observer likes, and then writes.
private let readsThenWrites = """
    ;CREATE FUNCTION report() RETURNS void LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(7); DELETE FROM entry; END'
    """

/// What the server was sent behind the fence goes on by itself, also when whoever sent it is frozen or dead.
@Suite struct StatementsOfTheWindowTests {
    private func application(of site: Site) async throws -> PostgresConnection {
        let application = try await site.connect(as: "$app")
        try await application.execute("SET lock_timeout = 0")
        return application
    }

    private func waitForReport(_ site: Site) async throws {
        try await poll {
            try await !site.asSuperuser(
                "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event = 'advisory'"
            ).isEmpty
        }
    }

    @Test(arguments: [true, false])
    func aStatementThatWasUnderWayWhenTheFenceCameDownWritesNothing(isForward: Bool) async throws {
        let site = try await Site.make(readsThenWrites)
        let upgrade = site.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        try await site.asSuperuser("SELECT pg_advisory_lock(7)")
        let old = try await application(of: site)
        async let report = old.execute("SELECT report()")
        try await waitForReport(site)
        if !isForward { try await upgrade.done(.revertMigrate) }
        guard case .done(let lowered) = await upgrade.perform(lowering(isForward ? proof : nil))
        else {
            Issue.record("the fence could not be lowered")
            return
        }
        #expect(
            lowered.lines.contains {
                $0.hasPrefix("may write nothing, because it was under way")
                    && $0.contains(site.application)
            }, "\(lowered.lines)")
        // Others write at once.
        let new = try await application(of: site)
        try await new.execute("DELETE FROM entry WHERE id = 1")
        try await site.asSuperuser("SELECT pg_advisory_unlock(7)")
        var refused: (any Error)?
        do { _ = try await report } catch { refused = error }
        #expect((refused as? PostgresError)?.sqlState == "25006")
        #expect(try await site.asSuperuser("SELECT FROM entry").count == 9)
        // The next statement of the same session is free, and nothing is left.
        try await old.execute("DELETE FROM entry WHERE id = 2")
        try await upgrade.done(isForward ? .contract : .revertExpand)
        let triggers = "SELECT FROM pg_trigger WHERE tgname LIKE '%sluice%'"
        #expect(try await site.asSuperuser(triggers).isEmpty)
        for session in [old, new] { await session.close() }
        await upgrade.close()
    }

    @Test
    func aStatementThatWasUnderWayWhenTheFenceCameDownDefinesNothing() async throws {
        let site = try await Site.make(
            """
            ;GRANT CREATE ON SCHEMA public TO $app; CREATE FUNCTION report() RETURNS void LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_advisory_xact_lock(7); CREATE TABLE late (a int); END'
            """)
        let upgrade = site.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        try await site.asSuperuser("SELECT pg_advisory_lock(7)")
        let old = try await application(of: site)
        async let report = old.execute("SELECT report()")
        try await waitForReport(site)
        guard case .done = await upgrade.perform(lowering(proof)) else {
            Issue.record("the fence could not be lowered")
            return
        }
        // Others define what they like at once.
        let new = try await application(of: site)
        try await new.execute("CREATE TABLE fresh (a int)")
        try await site.asSuperuser("SELECT pg_advisory_unlock(7)")
        var refused: (any Error)?
        do { _ = try await report } catch { refused = error }
        #expect((refused as? PostgresError)?.sqlState == "25006")
        #expect(try await site.asSuperuser("SELECT to_regclass('late')")[0][0] == nil)
        // The next statement of the same session is free, and nothing is left.
        try await old.execute("CREATE TABLE late (a int)")
        try await upgrade.done(.contract)
        for left in [
            "SELECT FROM pg_event_trigger WHERE evtname LIKE '%sluice%'",
            "SELECT FROM pg_trigger WHERE tgname LIKE '%sluice%'",
            "SELECT FROM pg_proc WHERE proname = 'refuse_change'",
        ] {
            #expect(try await site.asSuperuser(left).isEmpty)
        }
        for session in [old, new] { await session.close() }
        await upgrade.close()
    }

    @Test
    func aJobThatTheRunTurnedBackForWritesOn() async throws {
        let site = try await Site.make(readsThenWrites)
        let upgrade = site.upgrade()
        try await upgrade.done(.expand)
        try await site.asSuperuser("SELECT pg_advisory_lock(7)")
        let job = try await application(of: site)
        async let report = job.execute("SELECT report()")
        try await waitForReport(site)
        try await upgrade.done(.raiseFence)
        guard case .done = await upgrade.perform(lowering()) else {
            Issue.record("the fence could not be lowered")
            return
        }
        try await site.asSuperuser("SELECT pg_advisory_unlock(7)")
        _ = try await report
        #expect(try await site.asSuperuser("SELECT FROM entry").isEmpty)
        await job.close()
        await upgrade.close()
    }

    @Test
    func oneThatDoesNotEndKeepsTheTriggersUntilTheNextRunAndIsNamed() async throws {
        let site = try await Site.make(readsThenWrites)
        let upgrade = site.upgrade { $0.lockPatience = .milliseconds(100) }
        for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] {
            try await upgrade.done(kind)
        }
        try await site.asSuperuser("SELECT pg_advisory_lock(7)")
        let old = try await application(of: site)
        async let report = old.execute("SELECT report()")
        try await waitForReport(site)
        try await upgrade.done(.lowerFence)
        let lines = try await upgrade.done(.contract).lines
        #expect(
            lines.contains { $0.contains("until the next run") && $0.contains(site.application) },
            "\(lines)")
        try await site.asSuperuser("SELECT pg_advisory_unlock(7)")
        var refused: (any Error)?
        do { _ = try await report } catch { refused = error }
        #expect(refused is PostgresError)
        try await upgrade.done(.contract)
        #expect(
            try await site.asSuperuser("SELECT FROM pg_trigger WHERE tgname LIKE '%sluice%'")
                .isEmpty)
        await old.close()
        await upgrade.close()
    }
}
