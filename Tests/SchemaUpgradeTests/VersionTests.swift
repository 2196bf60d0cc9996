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

    /// Since 16, a membership says whether its rights are inherited and whether the role may be taken on, and one pair may
    /// have several, from several grantors, each of which may depend on another.
    @Test func membershipsAreWhatTheyWere() async throws {
        let site = try await Site.make(
            """
            ;CREATE ROLE first_$db LOGIN; CREATE ROLE second_$db LOGIN; CREATE ROLE third_$db LOGIN;
            GRANT pg_write_all_data TO first_$db WITH ADMIN OPTION;
            GRANT pg_write_all_data TO third_$db;
            """)
        if site.cluster.version >= 16 {
            try await site.asSuperuser(
                """
                GRANT pg_write_all_data TO first_$db WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
                SET ROLE first_$db;
                GRANT pg_write_all_data TO second_$db WITH ADMIN TRUE, INHERIT FALSE, SET TRUE;
                RESET ROLE; SET ROLE second_$db;
                GRANT pg_write_all_data TO third_$db WITH INHERIT TRUE, SET FALSE;
                RESET ROLE
                """)
        }
        let before = try await site.catalog()
        let upgrade = site.upgrade()
        try await upgrade.done(.raiseFence)
        try await upgrade.done(.census)
        for role in ["first_$db", "second_$db", "third_$db"] {
            let writer = try await site.connect(as: role)
            await #expect(throws: PostgresError.self, "\(role)") {
                try await writer.execute("SET ROLE pg_write_all_data; UPDATE entry SET name = 'x'")
            }
            await #expect(throws: PostgresError.self, "\(role)") {
                try await writer.execute("SELECT nextval('entry_id_seq')")
            }
            await writer.close()
        }
        try await upgrade.done(.lowerFence)
        let left = Set(try await site.catalog()).symmetricDifference(before)
        #expect(left == [])
        await upgrade.close()
    }

    /// A fence of a database cannot keep an administrator of roles from granting one, on no version; so it is said.
    @Test func aMembershipThatAppearsInTheWindowIsNamedAndStays() async throws {
        let site = try await Site.make(
            ";CREATE ROLE chief_$db LOGIN; CREATE ROLE late_$db LOGIN; GRANT $owner TO chief_$db WITH ADMIN OPTION;"
        )
        let upgrade = site.upgrade()
        try await upgrade.done(.raiseFence)
        try await upgrade.done(.census)
        let chief = try await site.connect(as: "chief_$db")
        try await chief.execute(site.named("GRANT $owner TO late_$db"))
        let late = try await site.connect(as: "late_$db")
        await #expect(throws: PostgresError.self) {
            try await late.execute("UPDATE entry SET name = 'late'")
        }
        let report = try await upgrade.done(.lowerFence)
        let named = site.named("role late_$db became a member of $owner, granted by chief_$db")
        #expect(report.lines.contains { $0.hasSuffix(named) }, "\(report.lines)")
        try await late.execute("UPDATE entry SET name = 'after'")
        for session in [chief, late] { await session.close() }
        await upgrade.close()
    }
}
