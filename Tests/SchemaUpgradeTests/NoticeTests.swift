// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

@Test
func whatTheServerSaysOfAMigrationStandsInTheReportALineEach() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                "-- sluice: expand\nDROP TABLE IF EXISTS never;\nDO $$ BEGIN RAISE WARNING 'two\nlines'; END $$"
            ),
            (
                "0002_b.up.sql",
                """
                -- sluice: expand transaction=none
                DROP INDEX CONCURRENTLY IF EXISTS never_index;
                DO $$ BEGIN RAISE NOTICE 'in a block'; COMMIT; RAISE INFO 'and after it'; END $$
                """
            ),
            ("0003_c.up.sql", "DROP VIEW IF EXISTS never_view"),
            ("0003_c.down.sql", "DROP SEQUENCE IF EXISTS never_sequence"),
            ("0004_d.up.sql", "-- sluice: contract\nDROP TYPE IF EXISTS never_type")))
    func said(_ report: DatabaseReport) -> [String] {
        report.lines.filter { $0.contains(".sql:") }
    }
    #expect(
        said(try await upgrade.done(.expand)) == [
            "0001_a.up.sql:2:1: NOTICE: table \"never\" does not exist, skipping",
            "0001_a.up.sql:3:1: WARNING: two lines",
            "0002_b.up.sql:2:1: NOTICE: index \"never_index\" does not exist, skipping",
            "0002_b.up.sql:3:1: NOTICE: in a block", "0002_b.up.sql:3:1: INFO: and after it",
        ])
    // Sluice's own statements make notices too, which nobody has to read.
    #expect(said(try await upgrade.done(.raiseFence)).isEmpty)
    #expect(said(try await upgrade.done(.census)).isEmpty)
    #expect(
        said(try await upgrade.done(.migrate)) == [
            "0003_c.up.sql:1:1: NOTICE: view \"never_view\" does not exist, skipping"
        ])
    #expect(
        said(try await upgrade.done(.revertMigrate)) == [
            "0003_c.down.sql:1:1: NOTICE: sequence \"never_sequence\" does not exist, skipping"
        ])
    try await upgrade.done(.lowerFence)
    #expect(
        said(try await upgrade.done(.contract)) == [
            "0004_d.up.sql:2:1: NOTICE: type \"never_type\" does not exist, skipping"
        ])
    await upgrade.close()
}

@Test
func noticesWithoutEndAreCountedAndTheFirstOnesShown() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                """
                -- sluice: expand
                DO $$ BEGIN FOR n IN 1..1000 LOOP RAISE NOTICE 'row %', n; RAISE NOTICE 'the same'; END LOOP; END $$;
                DO $$ BEGIN RAISE NOTICE 'late'; END $$
                """
            )))
    let lines = try await upgrade.done(.expand).lines.filter { $0.hasPrefix("0001_a.up.sql") }
    #expect(lines.count == 21)
    #expect(lines.first == "0001_a.up.sql:2:1: NOTICE: row 1")
    #expect(lines.dropFirst().first == "0001_a.up.sql:2:1: NOTICE: the same (1000 times)")
    #expect(lines.last == "0001_a.up.sql: 982 more notices of the server")
    await upgrade.close()
}

@Test
func whatAFileOrARoleDoesNotWantToHearIsNotHeard() async throws {
    let site = try await Site.make(
        ";ALTER ROLE $owner SET client_min_messages = warning")
    let upgrade = site.upgrade(
        try migrations(
            ("0001_a.up.sql", "-- sluice: expand\nDROP TABLE IF EXISTS never"),
            (
                "0002_b.up.sql",
                "-- sluice: expand\nSET client_min_messages = error;\nDO $$ BEGIN RAISE WARNING 'no'; END $$"
            ),
            (
                "0003_c.up.sql",
                "-- sluice: expand\nSET client_min_messages = notice;\nDROP TABLE IF EXISTS never"
            )))
    let lines = try await upgrade.done(.expand).lines.filter { $0.contains(".sql:") }
    #expect(lines == ["0003_c.up.sql:3:1: NOTICE: table \"never\" does not exist, skipping"])
    await upgrade.close()
}
