// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Freezing a standby and feeding it again, on real servers; one test at a time, for each has two of its own.
@Suite(.serialized) struct StandbyTests {
    @Test(arguments: DatabaseTask.Kind.ofStandby)
    func withoutAStandbyItsTasksFailAndChangeNothing(kind: DatabaseTask.Kind) async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade()
        for kind in [DatabaseTask.Kind.raiseFence, .census] { try await upgrade.done(kind) }
        let before = try await site.catalog()
        let failure = try await upgrade.failure(kind)
        #expect(failure.code == "standby")
        #expect(failure.effect == .none)
        #expect(try await site.catalog() == before)
        await upgrade.close()
    }

    /// Once it is frozen it shows the old schema, whatever the primary does and however often it is started again; fed again, it
    /// follows, and every setting stands where it stood.
    @Test(arguments: [false, true])
    func aFrozenStandbyShowsTheOldSchemaUntilItIsFed(setsInFile: Bool) async throws {
        let frozen = try await FrozenSite.make(setsInFile: setsInFile)
        let before = try await frozen.settings()
        let upgrade = frozen.upgrade(try .guestbook())
        try await frozen.freeze(upgrade)
        let again = try await upgrade.done(.freezeStandby, attempt: 2)
        #expect(again.lines.first?.hasPrefix("the standby was frozen already") == true)
        try await upgrade.done(.migrate)
        for crash in [false, true] {
            #expect(try await frozen.onStandby("SELECT to_regclass('person')")[0][0] == nil)
            #expect(try await frozen.onStandby("SELECT FROM pg_stat_wal_receiver").isEmpty)
            try frozen.standby.stop(crash: crash)
            try frozen.standby.start()
        }
        let reader = try await frozen.reader()
        #expect(try await reader.query("SELECT count(*) FROM entry")[0].text(0) == "10")
        await reader.close()
        try await upgrade.done(.lowerFence)
        let fed = try await upgrade.done(.feedStandby)
        #expect(fed.lines.first?.hasPrefix("the standby follows again") == true)
        #expect(try await frozen.onStandby("SELECT to_regclass('person')")[0][0] != nil)
        #expect(try await frozen.settings() == before)
        #expect(
            try await upgrade.done(.feedStandby, attempt: 2).lines == ["the standby was not frozen"]
        )
        try await upgrade.done(.contract)
        await upgrade.close()
    }

    /// Commits must not wait for a standby that hears nothing, and its archive must not feed it.
    @Test func aSynchronousStandbyLeavesTheListAndComesBack() async throws {
        let frozen = try await FrozenSite.make()
        for command in [
            "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (other, \"s1\")'",
            "SELECT pg_reload_conf()",
        ] { try await frozen.site.asSuperuser(command) }
        for command in [
            "ALTER SYSTEM SET restore_command = 'cp /nowhere/%f \"%p\"'", "SELECT pg_reload_conf()",
        ] { _ = try await frozen.onStandby(command) }
        try await poll {
            try await !frozen.site.asSuperuser(
                "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"
            ).isEmpty
        }
        let before = try await frozen.settings()
        let upgrade = frozen.upgrade(try .guestbook())
        let findings = try await upgrade.done(.preflight).warnings.map(\.code)
        #expect(findings.contains("standby-synchronous"))
        try await frozen.freeze(upgrade)
        let meanwhile = try await frozen.settings()
        #expect(
            meanwhile.contains {
                $0.hasSuffix("synchronous_standby_names ")
            })
        #expect(meanwhile.contains { $0.contains("restore_command exit 1 # sluice: cp") })
        try await upgrade.done(.feedStandby)
        #expect(try await frozen.settings() == before)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// What the census has written cuts a standby off that is started again: the way back waits for nobody who would confirm its commits.
    @Test func aSynchronousStandbyThatIsStartedAgainBeforeTheFreezeHoldsNobodyUp() async throws {
        let frozen = try await FrozenSite.make()
        for command in [
            "ALTER SYSTEM SET synchronous_standby_names = 's1'", "SELECT pg_reload_conf()",
        ] { try await frozen.site.asSuperuser(command) }
        let synchronous = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"
        try await poll { try await !frozen.site.asSuperuser(synchronous).isEmpty }
        let before = try await frozen.settings()
        let upgrade = frozen.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.preflight, .expand, .raiseFence, .census] {
            try await upgrade.done(kind)
        }
        // Otherwise what follows would wait for ever.
        try #require(try await frozen.site.asSuperuser(synchronous).isEmpty)
        try frozen.standby.stop(crash: true)
        try frozen.standby.start()
        try await upgrade.done(.lowerFence)
        try await upgrade.done(.feedStandby)
        #expect(try await frozen.settings() == before)
        try await poll { try await !frozen.site.asSuperuser(synchronous).isEmpty }
        await upgrade.close()
    }

    /// A budget of the log that the primary keeps for the standby is not exceeded: the migration fails in time, whole.
    @Test func aMigrationThatWritesMoreLogThanThePlanAllowsIsUndone() async throws {
        let frozen = try await FrozenSite.make()
        let files = try MigrationSet.read([
            .init(
                name: "0001_fill.up.sql",
                text: """
                    CREATE TABLE filler (text text);
                    INSERT INTO filler SELECT repeat(md5(n::text), 60) FROM generate_series(1, 20000) AS n;
                    SELECT pg_sleep(60);
                    """)
        ])
        let upgrade = frozen.upgrade(files) { $0.standby?.budget = 20 << 20 }
        try await frozen.freeze(upgrade)
        let failure = try await upgrade.failure(.migrate)
        #expect(failure.code == "wal-budget")
        #expect(failure.effect == .none)
        #expect(try await frozen.site.asSuperuser("SELECT to_regclass('filler')")[0][0] == nil)
        try await upgrade.done(.feedStandby)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// Somebody lets the standby follow before the migration: the run turns back, for there is no way back by promotion any more.
    @Test func aStandbyThatFollowsByOtherHandsStopsTheMigration() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try .guestbook())
        try await frozen.freeze(upgrade)
        let conninfo =
            "host=127.0.0.1 port=\(frozen.primary.port) user=postgres application_name=s1"
        _ = try await frozen.onStandby("ALTER SYSTEM SET primary_conninfo = '\(conninfo)'")
        _ = try await frozen.onStandby("SELECT pg_reload_conf()")
        try await poll { try await frozen.follows() }
        let failure = try await upgrade.failure(.migrate)
        #expect(failure.code == "standby-thawed")
        #expect(failure.effect == .none)
        #expect(try await upgrade.failure(.promoteStandby).code == "standby-thawed")
        try await upgrade.done(.feedStandby)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// Readers go over as soon as the census has ended: nobody may miss there what they have written.
    @Test func aCensusEndsWhenTheStandbyHasEverythingThatWasWritten() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.preflight, .expand] { try await upgrade.done(kind) }
        // Paused in the middle of a migration, replay would keep its locks, and this test waiting. Not every commit of one waits for the
        // disk; this one does, and brings those before it along.
        _ = try await frozen.site.asSuperuser("SELECT pg_logical_emit_message(true, 'test', '')")
        try await poll { try await frozen.follows() }
        _ = try await frozen.onStandby("SELECT pg_wal_replay_pause()")
        _ = try await frozen.site.asSuperuser("INSERT INTO entry (name) VALUES ('the last one')")
        try await upgrade.done(.raiseFence)
        let census = Task { try await upgrade.done(.census) }
        try await poll {
            try await frozen.site.asSuperuser(
                "SELECT census_transaction IS NOT NULL FROM sluice.fence")[0]
                .isTrue(0)
        }
        let last = "SELECT FROM entry WHERE name = 'the last one'"
        #expect(try await frozen.onStandby(last).isEmpty)
        _ = try await frozen.onStandby("SELECT pg_wal_replay_resume()")
        let report = try await census.value
        #expect(
            try await frozen.onStandby("SELECT state FROM sluice.standby")[0].text(0) == "freezing",
            "the freeze has nothing to write before it cuts it off")
        #expect(try await !frozen.onStandby(last).isEmpty)
        #expect(report.lines.contains { $0.hasPrefix("the standby has all of it") })
        try await upgrade.done(.freezeStandby)
        // A census that is asked for again does not wait for a standby that is cut off already.
        try await upgrade.done(.census, attempt: 2)
        try await upgrade.done(.feedStandby)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// The freeze waits for no disk of the standby: what cuts it off is written down by then, and read when it is told to.
    @Test func aCensusArmsTheStandbyWhichFollowsOn() async throws {
        let frozen = try await FrozenSite.make()
        let before = try await frozen.settings()
        let upgrade = frozen.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.preflight, .expand, .raiseFence, .census] {
            try await upgrade.done(kind)
        }
        #expect(try await frozen.settings().contains { $0.hasSuffix("hostaddr=255.255.255.255") })
        _ = try await frozen.site.asSuperuser("SELECT pg_switch_wal()")
        try await poll { try await frozen.follows() }
        // Restarted it would be cut off too early: the freeze lets it follow until it has everything.
        _ = try await frozen.onStandby("SELECT pg_reload_conf()")
        try await poll {
            try await frozen.onStandby("SELECT FROM pg_stat_wal_receiver").isEmpty
        }
        _ = try await frozen.site.asSuperuser("SELECT pg_switch_wal()")
        try await upgrade.done(.freezeStandby)
        #expect(try await frozen.onStandby("SELECT FROM pg_stat_wal_receiver").isEmpty)
        try await upgrade.done(.feedStandby)
        #expect(try await frozen.settings() == before)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// The connection of the standby's receiver is lost just then: the next one is waited for, and the run goes on.
    @Test func aCensusWaitsForTheReceiversNextConnection() async throws {
        let frozen = try await FrozenSite.make()
        for command in [
            "ALTER SYSTEM SET wal_retrieve_retry_interval = '1s'", "SELECT pg_reload_conf()",
        ] { _ = try await frozen.onStandby(command) }
        let upgrade = frozen.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.preflight, .expand, .raiseFence] {
            try await upgrade.done(kind)
        }
        // The first time it comes back at once.
        for _ in 1...2 {
            try await poll { try await frozen.follows() }
            try await frozen.site.asSuperuser(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        }
        try await poll {
            try await frozen.onStandby("SELECT FROM pg_stat_wal_receiver").isEmpty
        }
        for kind in [DatabaseTask.Kind.census, .freezeStandby, .feedStandby, .lowerFence] {
            try await upgrade.done(kind)
        }
        await upgrade.close()
    }

    /// A run that turns back between census and freeze leaves nothing of it to the next one.
    @Test func aStandbyThatWasNeverCutOffIsLetGoOf() async throws {
        let frozen = try await FrozenSite.make()
        let before = try await frozen.settings()
        let upgrade = frozen.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .lowerFence] {
            try await upgrade.done(kind)
        }
        let kept = "SELECT count(*) FROM sluice.standby"
        #expect(try await frozen.site.asSuperuser(kept)[0].text(0) == "1")
        try await upgrade.done(.feedStandby)
        #expect(try await frozen.site.asSuperuser(kept)[0].text(0) == "0")
        #expect(try await frozen.settings() == before)
        await upgrade.close()
    }

    /// Prints what the standby adds to the write window, and what comes after it; asserts nothing about it.
    @Test func theStandbysPartIsMeasured() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        let clock = ContinuousClock()
        var taken: [DatabaseTask.Kind: [Duration]] = [:]
        for attempt in 1...10 {
            for kind in [DatabaseTask.Kind.census, .freezeStandby, .feedStandby] {
                let began = clock.now
                try await upgrade.done(kind, attempt: attempt)
                taken[kind, default: []].append(began.duration(to: clock.now))
            }
        }
        for (kind, durations) in taken.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            let sorted = durations.sorted()
            print("standby: \(kind) least \(sorted[0]), median \(sorted[5]), most \(sorted[9])")
        }
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    @Test func aStandbyThatIsDownStopsTheRunBeforeItBegins() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try .guestbook())
        try frozen.standby.stop(crash: true)
        let failure = try await upgrade.failure(.preflight)
        #expect(failure.findings.map(\.code).contains("standby-unreachable"))
        for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await upgrade.done(kind) }
        #expect(try await upgrade.failure(.census).code == "standby-unreachable")
        #expect(try await upgrade.failure(.freezeStandby).code == "standby-unreachable")
        try frozen.standby.start()
        try await upgrade.done(.census, attempt: 2)
        try await upgrade.done(.freezeStandby, attempt: 2)
        try await upgrade.done(.feedStandby)
        try await upgrade.done(.lowerFence)
        await upgrade.close()
    }

    /// Each cut of the session with the primary, and each death of the coordinator, ends in the same state.
    @Test(arguments: [DatabaseTask.Kind.freezeStandby, .feedStandby])
    func aTaskOfTheStandbyThatIsCutAnywhereEndsInTheSameState(kind: DatabaseTask.Kind) async throws
    {
        let frozen = try await FrozenSite.make()
        let proxy = try CutProxy(server: frozen.primary.port)
        defer { proxy.stop() }
        let before = try await frozen.settings()
        var epoch: Int64 = 1
        let first = frozen.upgrade(try .guestbook())
        for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] { try await first.done(kind) }
        await first.close()
        var cuts = 0
        for answered in 0..<60 {
            epoch += 1
            let other: DatabaseTask.Kind = kind == .feedStandby ? .freezeStandby : .feedStandby
            let prepare = frozen.upgrade(try .guestbook())
            try await prepare.done(other, epoch: epoch)
            await prepare.close()
            let upgrade = frozen.upgrade(try .guestbook()) {
                $0.address =
                    "host=127.0.0.1 port=\(proxy.port) user=\(frozen.site.migrator) dbname=\(frozen.site.database) "
                    + "sslmode=disable gssencmode=disable"
            }
            proxy.cut(afterAnswers: answered, thenRefuse: true)
            let outcome = await upgrade.perform(kind, epoch: epoch)
            let isCut = proxy.mend()
            if case .failed(let failure) = outcome {
                #expect(isCut, "\(failure)")
                #expect(["connection-lost", "unreachable"].contains(failure.code), "\(failure)")
            }
            await upgrade.close()
            epoch += 1
            let next = frozen.upgrade(try .guestbook())
            try await next.done(kind, epoch: epoch)
            await next.close()
            let isFrozen = try await frozen.onStandby("SELECT FROM pg_stat_wal_receiver").isEmpty
            #expect(isFrozen == (kind == .freezeStandby), "after \(answered) answers")
            if kind == .feedStandby { #expect(try await frozen.settings() == before) }
            if !isCut { break }
            cuts += 1
        }
        print("\(kind): \(cuts) cuts")
        #expect(cuts > 3)
    }
}
