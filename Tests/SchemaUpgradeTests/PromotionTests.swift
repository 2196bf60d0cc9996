// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// The way back by promotion, on real servers; one test at a time, for each has two of its own.
@Suite(.serialized) struct PromotionTests {
    /// A column is dropped for good, and no down-migration brings it back.
    private static func dropping() throws -> MigrationSet {
        try .read([
            .init(name: "0001_drop.up.sql", text: "ALTER TABLE entry DROP COLUMN name CASCADE;")
        ])
    }

    /// The standby takes the primary's place with the schema and the rights of before; the old primary takes no writes, also after
    /// a restart, and no later task opens it.
    @Test func theStandbyTakesThePlaceOfAPrimaryWhoseMigrationCannotBeUndone() async throws {
        let frozen = try await FrozenSite.make("GRANT pg_write_all_data TO $app")
        let rights = "SELECT relacl FROM pg_class WHERE relname LIKE 'entry%' ORDER BY relname"
        let before = try await frozen.onStandby(rights).map { $0[0] }
        let upgrade = frozen.upgrade(try Self.dropping())
        let idle = try await frozen.site.connect(as: "$app")
        try await frozen.freeze(upgrade)
        try await upgrade.done(.migrate)
        let report = try await upgrade.done(.promoteStandby)
        print("standby: promoted in \(report.duration)")
        #expect(report.lines.contains { $0.hasPrefix("the old primary is shut") })
        #expect(report.lines.contains { $0.contains("pg_rewind") })
        await #expect(throws: PostgresError.self) { try await idle.query("SELECT 1") }

        #expect(await frozen.writes(frozen.standbyForApplication))
        #expect(await !frozen.writes(frozen.primaryForApplication))
        let after = try await frozen.onStandby(rights).map { $0[0] }
        #expect(after == before)
        #expect(try await frozen.onStandby("SELECT count(name) FROM entry")[0].text(0) == "11")
        // Again, by one that knows nothing; and what comes after it goes to the new primary.
        let stranger = frozen.upgrade(try Self.dropping())
        try await stranger.done(.promoteStandby, epoch: 2)
        try await frozen.tidyPromotion(stranger, epoch: 2)
        // Writers have not waited for that.
        let left = try await frozen.onStandby(
            "SELECT (SELECT count(*) FROM sluice.fence), (SELECT count(*) FROM sluice.standby), (SELECT count(*) FROM pg_trigger WHERE tgname = '!sluice_fence'), "
                + "(SELECT count(*) FROM pg_file_settings WHERE setting ~ 'sluice')")[0]
        #expect(left.cells == ["0", "0", "0", "0"])
        #expect(try await stranger.failure(.lowerFence, epoch: 2).code == "primary-shut")
        #expect(
            try await frozen.upgrade().failure(.preflight, epoch: 3, run: "r2").code
                == "primary-shut")
        try frozen.primary.stop(crash: true)
        try frozen.primary.start()
        #expect(await !frozen.writes(frozen.primaryForApplication))
        await stranger.close()
        await upgrade.close()
    }

    /// Readers go over to it meanwhile, so nobody is cut off on the primary yet; and neither server takes writes.
    @Test(arguments: [false, true])
    func aStandbyThatIsPromotedBehindItsFenceTakesNoWrites(primaryDies: Bool) async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try Self.dropping())
        let reading = try await frozen.site.connect(as: "$app")
        try await frozen.freeze(upgrade)
        try await upgrade.done(.migrate)
        try await upgrade.done(.promoteBehindFence)
        #expect(try await frozen.onStandby("SELECT pg_is_in_recovery()")[0].isTrue(0) == false)
        #expect(await !frozen.writes(frozen.standbyForApplication))
        #expect(await !frozen.writes(frozen.primaryForApplication))
        #expect(try await reading.query("SELECT count(*) FROM entry").count == 1)
        #expect(try await upgrade.failure(.lowerFence).code == "primary-shut")
        let again = try await upgrade.done(.promoteBehindFence, attempt: 2)
        #expect(again.lines == ["the standby was promoted already"])
        if primaryDies { try frozen.primary.stop(crash: true) }
        let report = try await upgrade.done(.promoteStandby)
        #expect(await frozen.writes(frozen.standbyForApplication))
        if primaryDies {
            #expect(
                report.lines.contains {
                    $0.contains("the primary does not answer, so nobody has seen")
                })
            try frozen.primary.start()
        }
        await #expect(throws: PostgresError.self) { try await reading.query("SELECT 1") }
        #expect(await !frozen.writes(frozen.primaryForApplication))
        await upgrade.close()
    }

    /// A standby that may have what the migration has done is not promoted, and the primary stays as it is.
    @Test func aStandbyThatFollowsAgainIsNotPromotedBehindItsFence() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try Self.dropping())
        try await frozen.freeze(upgrade)
        try await upgrade.done(.feedStandby)
        let failure = try await upgrade.failure(.promoteBehindFence)
        #expect(failure.code == "standby-thawed" && failure.effect == .none)
        #expect(try await frozen.onStandby("SELECT pg_is_in_recovery()")[0].isTrue(0))
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// Prints what writers wait for; asserts nothing about it.
    @Test func thePartsOfAPromotionAreMeasured() async throws {
        for _ in 1...3 {
            let frozen = try await FrozenSite.make()
            var connections: [PostgresConnection] = []
            for _ in 1...8 { connections.append(try await frozen.site.connect(as: "$app")) }
            let upgrade = frozen.upgrade(try Self.dropping())
            try await frozen.freeze(upgrade)
            try await upgrade.done(.migrate)
            let clock = ContinuousClock()
            let began = clock.now
            let promoted = try await upgrade.done(.promoteBehindFence)
            let middle = clock.now
            let report = try await upgrade.done(.promoteStandby)
            print(
                "standby: promoted behind its fence in \(began.duration(to: middle)), \(promoted.lines[0]); in its place in "
                    + "\(middle.duration(to: clock.now)), \(report.lines.first { $0.contains("takes writes") } ?? "")"
            )
            for connection in connections { await connection.close() }
            await upgrade.close()
        }
    }

    /// A primary that cannot be asked may only be cut off from here: nobody promotes but a person, who knows.
    @Test func aPrimaryThatDoesNotAnswerIsNotTakenForShut() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try Self.dropping())
        try await frozen.freeze(upgrade)
        try await upgrade.done(.migrate)
        try frozen.primary.stop(crash: true)
        let failure = try await upgrade.failure(.promoteStandby)
        #expect(failure.code == "primary-unknown", "\(failure)")
        #expect(failure.advice?.contains("SELECT pg_promote()") == true)
        #expect(try await frozen.onStandby("SELECT pg_is_in_recovery()")[0].isTrue(0))
        #expect(await !frozen.writes(frozen.standbyForApplication))
        // As the advice has it.
        _ = try await frozen.onStandby("SELECT pg_promote()")
        #expect(await !frozen.writes(frozen.standbyForApplication))
        let report = try await upgrade.done(.promoteStandby, attempt: 2)
        #expect(report.lines.contains { $0.contains("promoted the standby by hand") })
        #expect(await frozen.writes(frozen.standbyForApplication))
        // The fence is still up there.
        try frozen.primary.start()
        #expect(await !frozen.writes(frozen.primaryForApplication))
        await upgrade.close()
    }

    /// After a crash the primary replays its log, and says so: it is waited for, and no try is spent.
    @Test func aPrimaryThatStartsUpIsWaitedFor() async throws {
        let frozen = try await FrozenSite.make()
        let proxy = try CutProxy(server: frozen.primary.port)
        defer { proxy.stop() }
        let first = frozen.upgrade(try Self.dropping())
        try await frozen.freeze(first)
        try await first.done(.migrate)
        await first.close()
        let upgrade = frozen.upgrade(try Self.dropping()) {
            $0.address =
                "host=127.0.0.1 port=\(proxy.port) user=\(frozen.site.migrator) dbname=\(frozen.site.database) "
                + "sslmode=disable gssencmode=disable"
        }
        proxy.start(refusing: 20)
        let promotion = Task { try await upgrade.done(.promoteStandby, epoch: 2) }
        try await poll { await upgrade.progress()?.hasPrefix("the primary starts up") == true }
        _ = try await promotion.value
        #expect(proxy.startsLeft == 0)
        #expect(await upgrade.progress() == nil)
        #expect(await frozen.writes(frozen.standbyForApplication))
        await upgrade.close()
    }

    /// Cut from the primary after each answer, and killed there: the next leader ends it, and at no moment do both take writes.
    @Test func aPromotionThatIsCutAnywhereEndsWithOnePrimary() async throws {
        // The ninth request shuts the primary; those after it end sessions and ask.
        for answered in [5, 8, 9, 10, 11] {
            let frozen = try await FrozenSite.make()
            let proxy = try CutProxy(server: frozen.primary.port)
            defer { proxy.stop() }
            let first = frozen.upgrade(try Self.dropping())
            try await frozen.freeze(first)
            try await first.done(.migrate)
            await first.close()
            let upgrade = frozen.upgrade(try Self.dropping()) {
                $0.address =
                    "host=127.0.0.1 port=\(proxy.port) user=\(frozen.site.migrator) dbname=\(frozen.site.database) "
                    + "sslmode=disable gssencmode=disable"
            }
            proxy.cut(afterAnswers: answered, thenRefuse: true)
            let outcome = await upgrade.perform(.promoteStandby, epoch: 2)
            let isCut = proxy.mend()
            // Once it was shut, the standby promotes itself while its sessions end; nothing has to be asked any more.
            if case .failed(let failure) = outcome {
                #expect(isCut, "\(failure)")
                #expect(failure.code == "primary-unknown", "\(failure)")
                #expect(try await frozen.onStandby("SELECT pg_is_in_recovery()")[0].isTrue(0))
                #expect(await !frozen.writes(frozen.standbyForApplication))
            }
            #expect(await !frozen.writes(frozen.primaryForApplication))
            await upgrade.close()
            let next = frozen.upgrade(try Self.dropping())
            try await next.done(.promoteStandby, epoch: 3)
            await next.close()
            #expect(await frozen.writes(frozen.standbyForApplication))
            #expect(await !frozen.writes(frozen.primaryForApplication))
            if !isCut { break }
        }
    }
}
