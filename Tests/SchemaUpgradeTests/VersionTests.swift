// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// What differs between versions of PostgreSQL; scripts/test passes these on each.
@Suite struct VersionTests {
    /// `SLUICE_POSTGRES` chooses the server, and not only the name of a pass.
    @Test func theServerIsTheOneThatWasAskedFor() async throws {
        let site = try await Site.make()
        let found = try await site.asSuperuser("SHOW server_version_num")[0].integer(0) ?? 0
        #expect(found / 10_000 == Int64(site.cluster.version))
    }

    /// Settings that it lacks are not sent to it first.
    @Test func anOldServerIsRefusedWithASentenceOfItsOwn() async throws {
        let site = try await Site.make()
        let proxy = try CutProxy(server: site.cluster.port, version: "13")
        let upgrade = site.upgrade {
            $0.address =
                "host=127.0.0.1 port=\(proxy.port) user=\(site.migrator) dbname=\(site.database)"
        }
        let failure = try await upgrade.failure(.preflight)
        #expect(failure.code == "server-version")
        #expect(failure.message == "PostgreSQL 13 is too old for the fence")
        #expect(failure.advice == "PostgreSQL 14 or later is needed")
        proxy.stop()
    }

    /// PostgreSQL 17 has one more clock that could end a migration.
    @Test func noTimeoutOfARoleEndsAMigration() async throws {
        let site = try await Site.make()
        var timeouts = [
            "statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
        ]
        if site.cluster.version >= 17 { timeouts.append("transaction_timeout") }
        for timeout in timeouts {
            try await site.asSuperuser(
                "ALTER ROLE $migrator IN DATABASE $db SET \(timeout) = '200ms'")
        }
        let set = try MigrationSet.read([
            .init(
                name: "0001_slow.up.sql", text: "SELECT pg_sleep(0.4); CREATE TABLE slow (n int);"),
            .init(
                name: "0002_slow.up.sql", text: "SELECT pg_sleep(0.4); CREATE TABLE slower (n int);"
            ),
        ])
        let upgrade = site.upgrade(set)
        for kind in [DatabaseTask.Kind.raiseFence, .census, .migrate, .lowerFence] {
            try await upgrade.done(kind)
        }
        await upgrade.close()
    }
}
