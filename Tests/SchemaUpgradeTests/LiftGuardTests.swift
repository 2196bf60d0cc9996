// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Before writes open on the way forward, the database has to be the one that this run has proved silent and migrated.
@Suite struct LiftGuardTests {
    private static func lowering(_ proof: CensusProof?, attempt: Int = 1) -> DatabaseTask {
        DatabaseTask(
            kind: .lowerFence, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
            attempt: attempt, proof: proof)
    }

    /// A run up to the lift.
    private static func migrated() async throws -> (Site, SchemaUpgrade, CensusProof) {
        let site = try await Site.make()
        let upgrade = site.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let proof = try #require(try await upgrade.done(.census).census)
        try await upgrade.done(.migrate)
        return (site, upgrade, proof)
    }

    @Test func theDatabaseThatWasProvedIsOpenedAsOftenAsItIsAskedFor() async throws {
        let (site, upgrade, proof) = try await LiftGuardTests.migrated()
        #expect(proof.server?.isEmpty == false)
        #expect(proof.timeline?.count == 8)
        for attempt in 1...3 {
            let outcome = await upgrade.perform(LiftGuardTests.lowering(proof, attempt: attempt))
            guard case .done = outcome else {
                Issue.record("\(outcome)")
                return
            }
        }
        let application = try await site.connect(as: "$app")
        try await application.execute("INSERT INTO entry (name) VALUES ('open')")
        await application.close()
        await upgrade.close()
    }

    /// What another server in this one's place may lack: a standby that was behind, a backup.
    struct Loss: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var sql: String
        var message: String
    }

    static let losses = [
        Loss(
            testDescription: "fence and migration are gone",
            sql:
                "DROP SCHEMA sluice CASCADE; DROP TABLE person; ALTER TABLE entry DROP COLUMN first",
            message: "no fence is up"),
        Loss(
            testDescription: "the migration is gone",
            sql: "DELETE FROM sluice.migration WHERE version = '0002'",
            message: "not in its ledger: 0002_split_name"),
        Loss(
            testDescription: "the census is of another time",
            sql: "UPDATE sluice.fence SET census_transaction = '3'",
            message: "the census of this run"),
        Loss(
            testDescription: "the fence is half up",
            sql: "UPDATE sluice.fence SET state = 'raising'",
            message: "the fence is only half up"),
        Loss(
            testDescription: "the fence is another run's",
            sql: "UPDATE sluice.fence SET run = 'r7'",
            message: "the fence of run r7 is in its place"),
    ]

    @Test(arguments: losses)
    func writesStayClosedWhereSomethingOfTheRunIsMissing(loss: Loss) async throws {
        let (site, upgrade, proof) = try await LiftGuardTests.migrated()
        let migrator = try await site.connect(as: "$migrator")
        try await migrator.execute(loss.sql)
        await migrator.close()
        await upgrade.close()
        let next = site.upgrade(try .guestbook())
        guard case .failed(let failure) = await next.perform(LiftGuardTests.lowering(proof)) else {
            Issue.record("it was opened")
            return
        }
        #expect(failure.code == "fence-lost")
        #expect(failure.effect == .none)
        #expect(failure.message.contains(loss.message), "\(failure.message)")
        #expect(failure.advice?.contains("put the right one back") == true)
        // The way back, as the advice says: what is not there is down.
        if loss.message.contains("no fence is up") {
            try await next.done(.revertMigrate)
            try await next.done(.lowerFence)
        }
        await next.close()
    }

    @Test func anotherServerIsNotOpenedAndAPromotedStandbyWithEverythingIs() async throws {
        let (site, upgrade, proof) = try await LiftGuardTests.migrated()
        var other = proof
        other.server = "6849012345678901234"
        guard case .failed(let failure) = await upgrade.perform(LiftGuardTests.lowering(other))
        else {
            Issue.record("it was opened")
            return
        }
        #expect(failure.message.contains("another server"))
        other = proof
        other.timeline = "000000FE"
        guard case .done(let report) = await upgrade.perform(LiftGuardTests.lowering(other)) else {
            Issue.record("it was not opened")
            return
        }
        #expect(
            report.lines.contains { $0.contains("a standby has taken over") }, "\(report.lines)")
        _ = site
        await upgrade.close()
    }

    /// The drain is one budget: what closing the gates has spent is not there for the fence, nor again for the census.
    @Test func whatIsLeftOfTheDrainIsAllThatATaskWaits() async throws {
        let site = try await Site.make()
        // It would wait for an hour, and each of these sessions for ever.
        let upgrade = site.upgrade { $0.drainTimeout = .minutes(60) }
        let writer = try await site.connect(as: "$app")
        try await writer.execute("BEGIN; INSERT INTO entry (name) VALUES ('long')")
        let reader = try await site.connect(as: "$app")
        try await reader.execute("BEGIN; SELECT * FROM entry_id_seq")
        for kind in [DatabaseTask.Kind.raiseFence, .census] {
            let outcome = await upgrade.perform(
                DatabaseTask(
                    kind: kind, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
                    attempt: 1, budget: .milliseconds(100)))
            guard case .done = outcome else {
                Issue.record("\(kind): \(outcome)")
                return
            }
        }
        for session in [writer, reader] {
            await #expect(throws: PostgresError.self) { try await session.execute("COMMIT") }
        }
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }
}
