// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// A standby that Debian's Patroni looks after; one test at a time, for each has two servers and a Patroni of its own.
@Suite(.serialized) struct ManagedStandbyTests {
    private struct Managed {
        let frozen: FrozenSite
        let patroni: PatroniCluster

        static func make() async throws -> Managed {
            let frozen = try await FrozenSite.make()
            let patroni = try PatroniCluster(frozen.primary, frozen.standby)
            try await poll { try await frozen.follows() }
            return Managed(frozen: frozen, patroni: patroni)
        }

        func upgrade(_ migrations: MigrationSet) -> SchemaUpgrade {
            frozen.upgrade(migrations) { $0.standby?.patroni = patroni.address }
        }

        func isPaused() throws -> [Bool] {
            try [patroni.ofPrimary, patroni.ofStandby].map {
                try patroni.ask($0, "patroni").contains("\"pause\": true")
            }
        }

        func leader() throws -> String? {
            try patroni.ask(patroni.ofStandby, "cluster").split(separator: "{")
                .first { $0.contains("\"role\": \"leader\"") }?
                .split(separator: "\"").dropFirst(2).first.map(String.init)
        }

        /// Waits until each Patroni has looked after its server twice more.
        func turn() async throws {
            for port in [patroni.ofPrimary, patroni.ofStandby] {
                let first = try seen(port)
                try await poll { try seen(port) >= first + 2 }
            }
        }

        private func seen(_ port: Int) throws -> Int {
            let text = try patroni.ask(port, "patroni")
            let number = text.split(separator: "\"dcs_last_seen\": ").last?.prefix {
                $0.isNumber
            }
            return try #require(number.flatMap { Int($0) })
        }

        func freeze(_ upgrade: SchemaUpgrade, epoch: Int64 = 1, run: String = "r1") async throws {
            for kind in [
                DatabaseTask.Kind.preflight, .expand, .pauseManager, .raiseFence, .census,
                .freezeStandby,
            ] { try await upgrade.done(kind, epoch: epoch, run: run) }
        }
    }

    /// Enough log that Patroni takes a standby without it for too far behind.
    private static func writing() throws -> MigrationSet {
        try .read([
            .init(
                name: "0001_drop.up.sql",
                text: """
                    ALTER TABLE entry DROP COLUMN name CASCADE;
                    CREATE TABLE filler AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 5000) AS n;
                    """)
        ])
    }

    /// Paused, Patroni still gives a standby back what it has set itself. What the freeze adds it lets be; afterwards everything is as
    /// it was, its own settings to the byte, and so it is when it was paused before.
    @Test func patroniIsPausedForTheRunAndEverythingIsAsBefore() async throws {
        let managed = try await Managed.make()
        let frozen = managed.frozen
        let stranger = frozen.upgrade()
        let found = try await stranger.failure(.preflight, epoch: 1, run: "r0").findings
        #expect(found.map(\.code).contains("standby-manager"))
        #expect(found.contains { $0.advice?.contains("manager: {patroni: env:NAME}") == true })
        await stranger.close()
        for (epoch, wasPaused) in [(Int64(2), false), (3, true)] {
            if wasPaused { try managed.patroni.tell("PATCH", "config", #"{"pause": true}"#) }
            let before = try managed.patroni.settings()
            let settings = try await frozen.settings()
            let upgrade = managed.upgrade(try .guestbook())
            let run = "r\(epoch)"
            try await managed.freeze(upgrade, epoch: epoch, run: run)
            #expect(try managed.isPaused() == [true, true])
            try await managed.turn()
            #expect(try await frozen.onStandby("SELECT FROM pg_stat_wal_receiver").isEmpty)
            for kind in [
                DatabaseTask.Kind.migrate, .lowerFence, .feedStandby, .resumeManager, .contract,
            ] { try await upgrade.done(kind, epoch: epoch, run: run) }
            #expect(try await frozen.onStandby("SELECT to_regclass('person')")[0][0] != nil)
            #expect(try managed.patroni.settings() == before)
            try await managed.turn()
            #expect(try await frozen.settings() == settings)
            #expect(try managed.isPaused() == [wasPaused, wasPaused])
            #expect(try managed.leader() == PatroniCluster.primary)
            await upgrade.close()
        }
    }

    /// Somebody resumes it while the primary migrates: it could promote the standby, or let it follow.
    @Test func aManagerThatWorksAgainStopsTheMigration() async throws {
        let managed = try await Managed.make()
        let upgrade = managed.upgrade(try .guestbook())
        try await managed.freeze(upgrade)
        try managed.patroni.tell("PATCH", "config", #"{"pause": null}"#)
        let failure = try await upgrade.failure(.migrate)
        #expect(failure.code == "manager-active")
        #expect(failure.effect == .none)
        let other = try await managed.upgrade(.empty).failure(.pauseManager, epoch: 2, run: "r2")
        #expect(other.code == "manager-held", "\(other)")
        for kind in [DatabaseTask.Kind.feedStandby, .lowerFence, .resumeManager] {
            try await upgrade.done(kind)
        }
        await upgrade.close()
    }

    /// After a promotion Patroni would take the first primary for its leader, and make the new one a standby of it.
    @Test func afterAPromotionTheNewPrimaryIsTheLeaderBeforePatroniGoesOn() async throws {
        let managed = try await Managed.make()
        let frozen = managed.frozen
        let before = try managed.patroni.settings()
        let upgrade = managed.upgrade(try Self.writing())
        try await managed.freeze(upgrade)
        try await upgrade.done(.migrate)
        let promoted = try await upgrade.done(.promoteStandby).lines
        #expect(promoted.contains { $0.contains("Patroni makes it a standby") })
        #expect(!promoted.contains { $0.contains("pg_rewind") }, "that is Patroni's to do")
        #expect(await frozen.writes(frozen.standbyForApplication))
        #expect(try managed.leader() == PatroniCluster.primary)
        try await frozen.tidyPromotion(upgrade)
        var resume = DatabaseTask(
            kind: .resumeManager, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
            attempt: 1)
        resume.isPromoted = true
        let outcome = await upgrade.perform(resume)
        guard case .done(let report) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(report.lines.contains { $0.contains("patronictl reinit") })
        #expect(try managed.leader() == "s1")
        #expect(try managed.patroni.settings() == before)
        try await managed.turn()
        #expect(try managed.isPaused() == [false, false])
        #expect(await frozen.writes(frozen.standbyForApplication))
        #expect(await !frozen.writes(frozen.primaryForApplication))
        // As the advice has it, in the words of `patronictl`.
        try managed.patroni.tell(
            "POST", "reinitialize", #"{"force": true}"#, to: managed.patroni.ofPrimary)
        let follows = "SELECT FROM pg_stat_replication WHERE state = 'streaming'"
        try await poll { try await !frozen.onStandby(follows).isEmpty }
        #expect(try await frozen.onStandby("SELECT count(name) FROM entry")[0].text(0) == "12")
        await upgrade.close()
    }

    /// The primary is the other server now, with the fence and the schema of before; the run ends there.
    @Test func aSwitchoverInTheMiddleLosesNothing() async throws {
        let managed = try await Managed.make()
        let frozen = managed.frozen
        let slow = try MigrationSet.read([
            .init(
                name: "0001_slow.up.sql",
                text: "ALTER TABLE entry DROP COLUMN name CASCADE; SELECT pg_sleep(60);")
        ])
        let upgrade = managed.upgrade(slow)
        try await managed.freeze(upgrade)
        async let migration = upgrade.failure(.migrate)
        try await poll {
            try await !frozen.site.observer.query(
                "SELECT FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND pid <> pg_backend_pid()"
            ).isEmpty
        }
        try managed.patroni.tell(
            "POST", "switchover", #"{"leader": "p1", "candidate": "s1"}"#)
        let failure = try await migration
        #expect(failure.effect == .unknown, "\(failure)")
        #expect(await !frozen.writes(frozen.standbyForApplication))
        #expect(await !frozen.writes(frozen.primaryForApplication))
        let report = try await upgrade.done(.promoteStandby)
        // Patroni may be rewinding it at the time.
        let words = ["the old primary is a standby now", "the primary does not answer"]
        #expect(report.lines.contains { line in words.contains { line.contains($0) } })
        #expect(await frozen.writes(frozen.standbyForApplication))
        #expect(await !frozen.writes(frozen.primaryForApplication))
        #expect(try await frozen.onStandby("SELECT count(name) FROM entry")[0].text(0) == "11")
        await upgrade.close()
    }
}
