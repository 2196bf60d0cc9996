// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// A site on a server of its own, with a standby.
struct FrozenSite {
    let site: Site
    let standby: PostgresStandby
    /// A session of the superuser with the standby, for looking; a standby that is stopped ends it.
    let observer: PostgresConnection

    var primary: PostgresCluster { site.cluster }

    static func make(
        _ schema: String = "", setsInFile: Bool = false, settings: [String] = []
    ) async throws -> FrozenSite {
        let primary = try PostgresCluster(
            settings: ["max_connections=60", "shared_buffers=32MB", "wal_log_hints=on"] + settings)
        let site = try await Site.make(schema, on: primary)
        let standby = try PostgresStandby(of: primary, setsInFile: setsInFile)
        let made = FrozenSite(
            site: site, standby: standby, observer: try await look(standby, site))
        try await poll { try await made.follows() }
        return made
    }

    static func look(_ standby: PostgresStandby, _ site: Site) async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            ConnectionOptions(
                address: standby.address(site.database), applicationName: "observer"))
    }

    func upgrade(
        _ migrations: MigrationSet = .empty,
        change: (inout SchemaUpgrade.Configuration) -> Void = { _ in }
    ) -> SchemaUpgrade {
        site.upgrade(migrations) {
            $0.standby = .init(
                address: standby.address(site.database, user: site.migrator), lag: .seconds(20))
            change(&$0)
        }
    }

    /// A session with the standby as the application has it.
    func reader() async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            ConnectionOptions(
                address: standby.address(site.database, user: site.application),
                applicationName: "reader"))
    }

    func onStandby(_ sql: String) async throws -> Rows {
        let connection = try await FrozenSite.look(standby, site)
        defer { Task { await connection.close() } }
        return try await connection.execute(sql)
    }

    /// Whether the standby has everything that the primary has.
    func follows() async throws -> Bool {
        let current = try await site.observer.query("SELECT pg_current_wal_flush_lsn()")[0].text(0)
        return try await onStandby(
            "SELECT pg_last_wal_replay_lsn() >= '\(current)' AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
        )[0].isTrue(0)
    }

    /// What the files of both servers say of replication, a line for each word; where each stands, too.
    func settings() async throws -> [String] {
        let query = """
            SELECT concat_ws(' ', regexp_replace(sourcefile, '^.*/', ''), name, setting) FROM pg_file_settings
            WHERE name IN ('primary_conninfo', 'restore_command', 'primary_slot_name', 'synchronous_standby_names') ORDER BY 1
            """
        let there = try await onStandby(query).map { "standby " + $0.text(0) }
        return try await site.observer.query(query).map { "primary " + $0.text(0) } + there
    }

    /// Roles that could write now: who may log in as the application, and is let through.
    func writes(_ address: String) async -> Bool {
        guard
            let connection = try? await PostgresConnection.connect(
                ConnectionOptions(address: address, applicationName: "writer"))
        else { return false }
        defer { Task { await connection.close() } }
        return (try? await connection.execute("INSERT INTO entry (name) VALUES ('written')")) != nil
    }

    var primaryForApplication: String {
        primary.address(site.database, user: site.application)
    }
    var standbyForApplication: String {
        standby.address(site.database, user: site.application)
    }

    /// The first task after a promotion: what was set for the freeze is given back while writes go on.
    func tidyPromotion(_ upgrade: SchemaUpgrade, epoch: Int64 = 1) async throws {
        var revert = DatabaseTask(
            kind: .revertExpand, run: RunIdentifier(unchecked: "r1"),
            epoch: Epoch(rawValue: epoch), attempt: 1)
        revert.isPromoted = true
        if case .failed(let failure) = await upgrade.perform(revert) { throw failure }
    }

    /// Brings a run to where its standby is frozen.
    func freeze(_ upgrade: SchemaUpgrade, epoch: Int64 = 1) async throws {
        for kind in [
            DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .freezeStandby,
        ] { try await upgrade.done(kind, epoch: epoch) }
    }
}
