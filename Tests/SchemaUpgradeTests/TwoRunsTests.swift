// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Two runs that meet on one database, and sessions that look like a run's.

@Test(arguments: [true, false])
func ofTwoRunsThatRaiseAtOnceOneWinsAndTheOtherIsToldWhoHoldsIt(hasOneRole: Bool) async throws {
    let site = try await Site.make("CREATE ROLE other_$db LOGIN SUPERUSER")
    let upgrades = [
        site.upgrade { $0.drainTimeout = .seconds(20) },
        site.upgrade {
            $0.drainTimeout = .seconds(20)
            if !hasOneRole {
                $0.address = site.cluster.address(site.database, user: site.named("other_$db"))
            }
        },
    ]
    // The schema is there; the catalog is what it has to be again in the end.
    try await upgrades[0].done(.expand, run: "r1")
    let before = try await site.catalog()

    // Both have looked, and found no fence, when they come to the row that decides.
    let gate = try await site.connect(as: "postgres")
    try await gate.execute("BEGIN; SELECT FROM sluice.epoch FOR UPDATE")
    async let first = upgrades[0].perform(.raiseFence, run: "r1")
    async let second = upgrades[1].perform(.raiseFence, run: "r2")
    var seen: Set<String> = []
    try await poll {
        seen.formUnion(
            try await site.asSuperuser(
                """
                SELECT pid FROM pg_stat_activity WHERE datname = '$db' AND wait_event_type = 'Lock'
                """
            ).map { $0.text(0) })
        return seen.count == 2
    }
    try await gate.execute("COMMIT")

    let outcomes = await [first, second]
    let failures = outcomes.compactMap { outcome in
        if case .failed(let failure) = outcome { failure } else { nil }
    }
    let failure = try #require(failures.first)
    try #require(failures.count == 1)
    let winner = if case .done = outcomes[0] { 0 } else { 1 }
    #expect(failure.code == "fence-held")
    #expect(failure.message.contains("run r\(winner + 1) is up since 20"))
    #expect(failure.advice?.contains("`sluice rollback r\(winner + 1)`") == true)
    #expect(failure.effect == .none)
    let rows = try await site.asSuperuser(
        "SELECT f.run, f.state, e.run FROM sluice.fence f, sluice.epoch e")
    #expect(rows.map(\.cells) == [["r\(winner + 1)", "up", "r\(winner + 1)"]])

    // The loser's way back leaves the winner's fence alone, and the winner goes on.
    try await upgrades[1 - winner].done(.lowerFence, run: "r\(2 - winner)")
    try await upgrades[winner].done(.census, run: "r\(winner + 1)")
    let application = try await site.connect(as: "$app")
    await #expect(throws: PostgresError.self) {
        try await application.execute("INSERT INTO entry (name) VALUES ('x')")
    }
    try await upgrades[winner].done(.lowerFence, run: "r\(winner + 1)")
    let left = Set(try await site.catalog()).symmetricDifference(before)
    #expect(left == [])
    #expect(try await site.asSuperuser("SELECT FROM sluice.stored").isEmpty)
    for upgrade in upgrades { await upgrade.close() }
}

@Test func twoRunsMayInstallAtOnce() async throws {
    let site = try await Site.make()
    // Both have found nothing when they come to the schema.
    let gate = try await site.connect(as: "postgres")
    try await gate.execute("BEGIN; CREATE SCHEMA sluice")
    async let first = site.upgrade().perform(.expand, run: "r1")
    async let second = site.upgrade().perform(.expand, run: "r2")
    try await poll {
        try await site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event_type = 'Lock'"
        ).count == 2
    }
    try await gate.execute("ROLLBACK")
    for outcome in await [first, second] {
        if case .failed(let failure) = outcome { Issue.record("\(failure)") }
    }
}

@Test
func whatARaiseLeftHalfDoneIsNoLongerProvedWhenItIsRaisedAgain() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] { try await upgrade.done(kind) }
    try await site.asSuperuser("UPDATE sluice.fence SET state = 'raising'")
    try await upgrade.done(.raiseFence)
    let row = try await site.asSuperuser("SELECT state, census_transaction FROM sluice.fence")[0]
    #expect(row.cells == ["up", nil])
    #expect(try await upgrade.failure(.migrate).code == "fence-down")
    try await upgrade.done(.lowerFence)
}

@Test(arguments: [true, false])
func preflightSaysThatAnotherRunIsAtWork(hasOneRole: Bool) async throws {
    let site = try await Site.make("CREATE ROLE other_$db LOGIN SUPERUSER")
    let first = site.upgrade(try .guestbook()) {
        if !hasOneRole {
            $0.address = site.cluster.address(site.database, user: site.named("other_$db"))
        }
    }
    let second = site.upgrade(try .guestbook())
    // Before anything is installed as well as after it.
    for kind in [DatabaseTask.Kind.preflight, .expand] {
        try await first.done(kind, run: "r1")
        let failure = try await second.failure(.preflight, run: "r2")
        #expect(failure.code == "other-run")
        #expect(failure.message.contains("run r1 as "))
        #expect(failure.message.contains(" since 20"))
        #expect(failure.advice?.contains("wait until that run has ended") == true)
        await second.close()
    }
    try await first.done(.raiseFence, run: "r1")
    let failure = try await second.failure(.preflight, run: "r2")
    #expect(failure.code == "fence-held")
    #expect(failure.message.contains("run r1 is up since 20"))
    try await first.done(.lowerFence, run: "r1")
    await first.close()
    try await poll {
        try await site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE datname = '$db' AND application_name LIKE 'sluice r1 %'"
        ).isEmpty
    }
    try await second.done(.preflight, run: "r2")
}

@Test(arguments: [true, false])
func ofTwoRunsThatComeToPreflightAtOnceOneWins(hasOneRole: Bool) async throws {
    let site = try await Site.make("CREATE ROLE other_$db LOGIN SUPERUSER")
    let first = site.upgrade(try .guestbook())
    let second = site.upgrade(try .guestbook()) {
        if !hasOneRole {
            $0.address = site.cluster.address(site.database, user: site.named("other_$db"))
        }
    }
    async let one = first.perform(.preflight, run: "r1")
    async let other = second.perform(.preflight, run: "r2")
    let failures = await [one, other].compactMap { outcome in
        if case .failed(let failure) = outcome { failure } else { nil }
    }
    #expect(failures.map(\.code) == ["other-run"], "\(failures)")
    for upgrade in [first, second] { await upgrade.close() }
}

@Test func anApplicationCannotPassForAnotherRun() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade()
    try await upgrade.done(.preflight, run: "r1")
    let marks = try await site.asSuperuser(
        "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = '$db')"
    )
    try #require(marks.count == 2)
    let application = try await site.connect(as: "$app")
    try await application.execute(
        """
        SET application_name = 'sluice r2 epoch 99';
        SELECT pg_advisory_lock_shared(\(marks[0].text(0)), 7), pg_advisory_lock_shared(\(marks[1].text(0)), 7)
        """)
    try await upgrade.done(.preflight, run: "r1")
    #expect(try await application.query("SELECT 1").count == 1)
}

/// Whoever may log in may take any advisory lock, and so the marks of a run that is yet to come.
@Test(.timeLimit(.minutes(5)), arguments: [true, false])
func anApplicationThatHoldsARunsLocksAloneOrQueuesForThemIsEndedAndNamed(isHeld: Bool) async throws
{
    let site = try await Site.make()
    let first = site.upgrade()
    for kind in [DatabaseTask.Kind.expand, .raiseFence] { try await first.done(kind) }
    let marks = try await site.asSuperuser(
        "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = '$db') ORDER BY 1"
    ).map { "\($0.text(0)), \($0.text(1))::oid::integer" }
    try #require(marks.count == 2)
    // The run's lock is known once the run is there, and the next epoch's can be guessed.
    let application = try await site.connect(as: "$app")
    try await application.execute("SET lock_timeout = 0; SET statement_timeout = 0")
    let process = try await application.query("SELECT pg_backend_pid()")[0].text(0)
    let (run, epoch) = (marks[0], marks[1].split(separator: ",")[0] + ", 2")
    if isHeld {
        await first.close()
        try await poll {
            try await application.query("SELECT pg_try_advisory_lock(\(run))")[0].isTrue(0)
        }
        try await application.execute("SELECT pg_advisory_lock(\(epoch))")
    }
    async let queued: Void = {
        if !isHeld { _ = try? await application.execute("SELECT pg_advisory_lock(\(run))") }
    }()
    if !isHeld {
        try await poll {
            try await site.asSuperuser(
                "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = \(process)"
            ).count == 1
        }
    }
    let next = site.upgrade()
    let report = try await next.done(.lowerFence, epoch: 2)
    #expect(
        report.lines.contains {
            $0.hasPrefix("ended")
                && $0.contains("role \(site.application), application application")
                && $0.hasSuffix("process \(process)")
        }, "\(report.lines)")
    await queued
    await #expect(throws: PostgresError.self) { try await application.query("SELECT 1") }
    for upgrade in [first, next] { await upgrade.close() }
}

@Test(.timeLimit(.minutes(5)))
func norCanItByTheLockThatTheSchemaIsMadeUnder() async throws {
    let site = try await Site.make()
    let application = try await site.connect(as: "$app")
    try await application.execute("SELECT pg_advisory_lock_shared(1936487787, 0)")
    let upgrade = site.upgrade()
    let report = try await upgrade.done(.expand)
    #expect(report.lines.contains { $0.contains("role \(site.application)") }, "\(report.lines)")
    await upgrade.close()
}

@Test(.timeLimit(.minutes(5)))
func whatHoldsARunsLocksForGoodIsNamedAndTheTaskCanBeStopped() async throws {
    let site = try await Site.make()
    let application = try await site.connect(as: "$app")
    try await application.execute(
        "BEGIN; SELECT pg_advisory_xact_lock(1936487786, 1); PREPARE TRANSACTION 'held_\(site.database)'"
    )
    let upgrade = site.upgrade()
    async let outcome = upgrade.perform(.preflight)
    try await poll {
        try await !site.asSuperuser(
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = 1936487786 AND objid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = '$db')"
        ).isEmpty
    }
    await upgrade.cancel()
    guard case .failed(let stopped) = await outcome else {
        Issue.record("it was stopped")
        return
    }
    #expect(stopped.code == "cancelled")
    let failure = try await upgrade.failure(.preflight)
    #expect(failure.code == "lock-timeout")
    #expect(failure.message.contains("prepared transaction 'held_\(site.database)'"))
    try await application.execute("ROLLBACK PREPARED 'held_\(site.database)'")
    try await upgrade.done(.preflight)
    await upgrade.close()
}

@Test
func onlySessionsOfThisRunsOwnAreEndedWhateverOthersCallThemselves() async throws {
    let site = try await Site.make()
    let run = String(repeating: "a", count: 32)
    let upgrade = site.upgrade { $0.trustedSuperusers.insert(site.migrator) }
    let neighbour = site.upgrade()
    try await neighbour.done(.expand, run: run + "-2")
    var others: [PostgresConnection] = []
    for name in ["sluice", "sluice \(run) epoch 1", "sluice \(run) epoch 99"] {
        let other = try await site.connect(as: "$migrator")
        try await other.execute("SET application_name = '\(name)'")
        others.append(other)
    }
    let process = try await sessions(of: run, site)
    try await upgrade.done(.expand, run: run + "-1")
    for other in others { #expect(try await other.query("SELECT 1").count == 1) }
    #expect(Set(try await sessions(of: run, site)).isSuperset(of: process))
    // They are not let through either.
    let failure = try await upgrade.failure(.raiseFence, run: run + "-1")
    #expect(failure.code == "migrator-shared")
    #expect(failure.message.contains("application sluice,"))
    for other in others { await other.close() }

    // Its own earlier session is ended, by a leader that knows nothing of it.
    let next = site.upgrade()
    let own = Set(try await sessions(of: run, site)).subtracting(process)
    try #require(own.count == 1)
    try await next.done(.expand, epoch: 2, run: run + "-1")
    #expect(Set(try await sessions(of: run, site)).isDisjoint(with: own))
    #expect(try await upgrade.failure(.expand, epoch: 1, run: run + "-1").code == "superseded")
    for upgrade in [upgrade, neighbour, next] { await upgrade.close() }
}

private func sessions(of run: String, _ site: Site) async throws -> Set<String> {
    Set(
        try await site.asSuperuser(
            "SELECT pid FROM pg_stat_activity WHERE datname = '$db' AND application_name LIKE 'sluice \(run)%'"
        ).map { $0.text(0) })
}

@Test func aMigrationThatRenamesItsSessionIsEndedByTheNextLeader() async throws {
    let site = try await Site.make()
    let migrations = try MigrationSet.read([
        .init(
            name: "0001_slow.up.sql",
            text: """
                -- sluice: expand
                SET application_name = 'somebody'; SELECT pg_advisory_lock(4, 2);
                SELECT pg_sleep(CASE WHEN current_setting('sluice.fast', true) = 'on' THEN 0 ELSE 90 END)
                """)
    ])
    let dead = site.upgrade(migrations)
    async let outcome = dead.perform(.expand)
    try await poll {
        try await !site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '$db'"
        ).isEmpty
    }
    try await site.asSuperuser("ALTER DATABASE $db SET sluice.fast = on")
    let next = site.upgrade(migrations)
    try await next.done(.expand, epoch: 2)
    guard case .failed(let failure) = await outcome else {
        Issue.record("it was replaced")
        return
    }
    #expect(failure.code == "superseded")
    // The session is named again after its migration.
    let name = try await site.asSuperuser(
        "SELECT FROM pg_stat_activity WHERE datname = '$db' AND application_name = 'sluice r1 epoch 2'"
    )
    #expect(name.count == 1)
}
