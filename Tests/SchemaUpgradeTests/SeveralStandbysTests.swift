// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// A primary with more than one standby, and what preflight sees of a standby; one test at a time.
@Suite(.serialized) struct SeveralStandbysTests {
    private func preflight(
        _ frozen: FrozenSite, change: (inout SchemaUpgrade.Configuration) -> Void = { _ in }
    ) async throws -> [Diagnostic] {
        let upgrade = frozen.upgrade(change: change)
        defer { Task { await upgrade.close() } }
        let task = DatabaseTask(
            kind: .preflight, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
            attempt: 1)
        switch await upgrade.perform(task) {
        case .done(let report): return report.warnings
        case .failed(let failure): return failure.findings
        }
    }

    /// One is frozen; commits wait for the other, which follows on and shows what the migration does. After a promotion it is made a
    /// standby of the new primary as the report says.
    @Test func oneOfTwoStandbysIsFrozenAndTheOtherFollowsOn() async throws {
        let frozen = try await FrozenSite.make()
        let other = try PostgresStandby(of: frozen.primary, slot: "s2")
        let another = try await FrozenSite.look(other, frozen.site)
        for command in [
            "ALTER SYSTEM SET synchronous_standby_names = 'ANY 2 (s1, s2)'",
            "SELECT pg_reload_conf()",
        ] { try await frozen.site.asSuperuser(command) }
        try await poll {
            try await frozen.site.asSuperuser(
                "SELECT FROM pg_stat_replication WHERE sync_state = 'quorum'"
            ).count == 2
        }
        let before = try await frozen.settings()
        let found = try await preflight(frozen)
        #expect(found.contains { $0.code == "standby-others" && $0.message.contains("s2") })
        let files = try MigrationSet.read([
            .init(name: "0001_drop.up.sql", text: "ALTER TABLE entry DROP COLUMN name CASCADE;")
        ])
        let upgrade = frozen.upgrade(files)
        try await frozen.freeze(upgrade)
        #expect(try await frozen.settings().contains { $0.hasSuffix("names ANY 1 (s2)") })
        try await upgrade.done(.feedStandby)
        #expect(try await frozen.settings() == before)
        for kind in [DatabaseTask.Kind.freezeStandby, .migrate] {
            try await upgrade.done(kind, attempt: 2)
        }
        let columns =
            "SELECT FROM pg_attribute WHERE attrelid = 'entry'::regclass AND attname = 'name'"
        try await poll { try await another.query(columns).isEmpty }
        await another.close()
        let lines = try await upgrade.done(.promoteStandby).lines
        #expect(lines.contains { $0.hasPrefix("standby s2 (127.0.0.1) follows the old primary") })
        #expect(await frozen.writes(frozen.standbyForApplication))
        try await frozen.tidyPromotion(upgrade)

        _ = try await frozen.onStandby("SELECT pg_create_physical_replication_slot('s2')")
        try other.stop(crash: false)
        try frozen.standby.rewind(other)
        try other.start()
        try await poll {
            try await !frozen.onStandby(
                "SELECT FROM pg_stat_replication WHERE state = 'streaming'"
            ).isEmpty
        }
        let again = try await FrozenSite.look(other, frozen.site)
        try await poll {
            try await again.query("SELECT FROM entry WHERE name = 'written'").count == 1
        }
        await again.close()
        await upgrade.close()
    }

    /// It would stand still with the frozen one, and follow a promotion.
    @Test func aStandbyThatAnotherStreamsFromIsNotFrozen() async throws {
        let frozen = try await FrozenSite.make()
        let below = try PostgresStandby(of: frozen.primary, slot: "s2", below: frozen.standby)
        try await poll {
            try await preflight(frozen).contains { $0.code == "standby-cascades" }
        }
        let swapped = try await preflight(frozen) {
            $0.standby?.address = below.address(frozen.site.database, user: frozen.site.migrator)
        }
        #expect(swapped.map(\.code).contains("standby-cascaded"))
    }

    /// After a promotion such an address would lead to the other server.
    @Test func anAddressThatNamesSeveralServersIsRefused() async throws {
        let frozen = try await FrozenSite.make()
        let more = [
            "host=\(frozen.primary.directory),\(frozen.standby.directory) port=\(frozen.primary.port),\(frozen.standby.port)",
            "target_session_attrs=any", "target_session_attrs=read-write",
        ]
        for (words, isRefused) in zip(more, [true, false, true]) {
            let found = try await preflight(frozen) { $0.address += " " + words }
            #expect(found.contains { $0.code == "standby-choice" } == isRefused, "\(words)")
        }
        let standby = try await preflight(frozen) {
            $0.standby?.address += " target_session_attrs=standby"
        }
        #expect(standby.contains { $0.code == "standby-choice" })
    }

    private struct Finding {
        var code: String
        var isOnStandby: Bool
        var made: [String]
        var cure: [String]
    }

    private static let reload = "SELECT pg_reload_conf()"
    private static func set(
        _ code: String, _ name: String, _ value: String, to cure: String, isOnStandby: Bool = true
    ) -> Finding {
        Finding(
            code: code, isOnStandby: isOnStandby,
            made: ["ALTER SYSTEM SET \(name) = \(value)", reload],
            cure: ["ALTER SYSTEM \(cure)", reload])
    }

    private static let findings = [
        Finding(
            code: "standby-paused", isOnStandby: true, made: ["SELECT pg_wal_replay_pause()"],
            cure: ["SELECT pg_wal_replay_resume()"]),
        set(
            "standby-paused", "recovery_min_apply_delay", "'5s'",
            to: "SET recovery_min_apply_delay = 0"),
        set(
            "standby-synchronous", "synchronous_standby_names", "'x'",
            to: "SET synchronous_standby_names = ''"),
        set(
            "standby-read-only", "default_transaction_read_only", "on",
            to: "RESET default_transaction_read_only"),
        set(
            "standby-conflicts", "max_standby_streaming_delay", "-1",
            to: "SET max_standby_streaming_delay = '10s'"),
        set(
            "standby-wal", "max_slot_wal_keep_size", "'64MB'",
            to: "SET max_slot_wal_keep_size = '10240MB'", isOnStandby: false),
        Finding(
            code: "standby-unlogged", isOnStandby: false,
            made: ["CREATE UNLOGGED TABLE public.quick (n integer)"],
            cure: ["ALTER TABLE public.quick SET LOGGED"]),
        Finding(
            code: "standby-others", isOnStandby: false,
            made: ["SELECT pg_create_physical_replication_slot('spare')"],
            cure: ["SELECT pg_drop_replication_slot('spare')"]),
        Finding(
            code: "standby-shared", isOnStandby: false, made: ["CREATE DATABASE elsewhere"],
            cure: ["DROP DATABASE elsewhere"]),
    ]

    /// Each with what mends it, in the words of the advice.
    @Test func preflightSeesWhatIsInTheWayOfAFreeze() async throws {
        let frozen = try await FrozenSite.make()
        for finding in Self.findings {
            func run(_ commands: [String]) async throws {
                for command in commands {
                    if finding.isOnStandby {
                        _ = try await frozen.onStandby(command)
                    } else {
                        try await frozen.site.asSuperuser(command)
                    }
                }
            }
            try await run(finding.made)
            try await poll {
                try await preflight(frozen).contains { $0.code == finding.code }
            }
            let found = try await preflight(frozen).first { $0.code == finding.code }
            for word in finding.cure where finding.code != "standby-others" {
                let isSaid = found?.advice?.contains(word) == true
                #expect(isSaid || word.hasPrefix("DROP"), "\(finding.code): \(found?.advice ?? "")")
            }
            try await run(finding.cure)
            try await poll {
                try await !preflight(frozen).contains { $0.code == finding.code }
            }
        }
    }
}
