// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Looking after a frozen standby while something else than migration files is at work: the application's own tool, or nodes that flip.
/// On real servers; one test at a time, for each has two of its own.
@Suite(.serialized) struct StandbyWatchTests {
    private static let run = RunIdentifier(unchecked: "r1")
    /// What a tool needs that logs in as the application.
    private static let rights =
        "GRANT CREATE ON SCHEMA public TO $app, $owner; GRANT $owner TO $app"

    /// Asked as the coordinator asks, until it is so.
    private func see(
        _ upgrade: SchemaUpgrade, _ isIt: @escaping @Sendable (StandbySight) -> Bool
    ) async throws {
        try await poll { await upgrade.sight(of: Self.run).map(isIt) ?? false }
    }

    private static func isSilent(_ sight: StandbySight) -> Bool {
        if case .silent = sight { true } else { false }
    }

    @Test func aStandbyThatDiesAndIsStartedAgainIsSeen() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try .guestbook())
        #expect(await upgrade.sight(of: Self.run) == nil, "nothing is frozen")
        try await frozen.freeze(upgrade)
        try await see(upgrade) { $0 == .frozen }
        #expect(await upgrade.sight(of: RunIdentifier(unchecked: "r2")) == nil)
        try frozen.standby.stop(crash: true)
        try await see(upgrade, Self.isSilent)
        try frozen.standby.start()
        try await see(upgrade) { $0 == .frozen }
        try await upgrade.done(.feedStandby)
        #expect(await upgrade.sight(of: Self.run) == nil, "it follows again")
        try await upgrade.done(.lowerFence)
        await upgrade.endWatch()
        await upgrade.close()
    }

    /// It would show readers of the old release what the tool has done.
    @Test func aStandbyThatFollowsByOtherHandsIsSeen() async throws {
        let frozen = try await FrozenSite.make()
        let upgrade = frozen.upgrade(try .guestbook())
        try await frozen.freeze(upgrade)
        try await see(upgrade) { $0 == .frozen }
        let conninfo =
            "host=127.0.0.1 port=\(frozen.primary.port) user=postgres application_name=s1"
        _ = try await frozen.onStandby("ALTER SYSTEM SET primary_conninfo = '\(conninfo)'")
        _ = try await frozen.onStandby("SELECT pg_reload_conf()")
        try await see(upgrade) { if case .thawed = $0 { true } else { false } }
        try await upgrade.done(.feedStandby)
        try await upgrade.done(.lowerFence)
        await upgrade.endWatch()
        await upgrade.close()
    }

    @Test func aToolThatWritesMoreLogThanThePlanAllowsIsSeen() async throws {
        let frozen = try await FrozenSite.make(Self.rights)
        let secret = Secret("a")
        let upgrade = frozen.upgrade {
            $0.tool = SchemaUpgrade.Configuration.ToolAccess(ledger: ToolLedger(.django))
            $0.standby?.budget = 20 << 20
        }
        try await frozen.freeze(upgrade)
        try await upgrade.passDone(.openPass, secret)
        try await see(upgrade) { $0 == .frozen }
        let tool = try await secret.session(frozen.site)
        _ = try await tool.execute(
            """
            CREATE TABLE filler (text text);
            INSERT INTO filler SELECT repeat(md5(n::text), 60) FROM generate_series(1, 20000) AS n
            """)
        try await see(upgrade) { sight in
            if case .trouble(let failure) = sight { failure.code == "wal-budget" } else { false }
        }
        await tool.close()
        // Whatever it has done is left behind.
        let report = try await upgrade.done(.promoteStandby)
        #expect(report.lines.contains { $0.hasPrefix("the old primary is shut") })
        #expect(await upgrade.sight(of: Self.run) == nil)
        await upgrade.endWatch()
        await upgrade.close()
    }

    /// Readers are served elsewhere, by the plan's word: there is no reason to give the migration up.
    @Test func aMigrationGoesOnWithoutItsStandbyWhereThePlanServesReaders() async throws {
        let frozen = try await FrozenSite.make()
        let files = try MigrationSet.read([
            .init(
                name: "0001_slow.up.sql",
                text: "CREATE TABLE slow (n integer); SELECT pg_sleep(12);")
        ])
        let upgrade = frozen.upgrade(files) { $0.standby?.mayBeLost = true }
        try await frozen.freeze(upgrade)
        let migration = Task { await upgrade.perform(.migrate) }
        try await poll {
            try await !frozen.site.asSuperuser(
                "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            ).isEmpty
        }
        try frozen.standby.stop(crash: true)
        guard case .done = await migration.value else {
            Issue.record("the migration was given up")
            return
        }
        try frozen.standby.start()
        try await upgrade.done(.lowerFence)
        try await upgrade.done(.feedStandby)
        await upgrade.close()
    }

    /// While nothing is migrated, turning back costs nothing.
    @Test func aToolIsNotLetThroughWhileTheStandbyIsDown() async throws {
        let frozen = try await FrozenSite.make(Self.rights)
        let upgrade = frozen.upgrade {
            $0.tool = SchemaUpgrade.Configuration.ToolAccess(ledger: ToolLedger(.django))
            $0.standby?.mayBeLost = true
        }
        try await frozen.freeze(upgrade)
        try frozen.standby.stop(crash: true)
        guard case .failed(let failure) = await upgrade.outcome(.openPass, Secret("a")) else {
            Issue.record("the tool was let through")
            return
        }
        #expect(failure.code == "standby-unreachable")
        #expect(failure.effect == .none)
        // Once it is at work, it goes on.
        guard case .done = await upgrade.outcome(.openPass, Secret("a"), attempt: 2) else {
            Issue.record("the tool was not let through again")
            return
        }
        try await upgrade.passDone(.closePass)
        try frozen.standby.start()
        try await upgrade.done(.lowerFence)
        try await upgrade.done(.feedStandby)
        await upgrade.close()
    }
}
