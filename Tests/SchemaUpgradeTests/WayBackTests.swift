// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

@Test(arguments: [
    (
        "ALTER TABLE entry DROP COLUMN name", "ALTER TABLE entry ADD COLUMN name text NOT NULL",
        "down.sql:1:1"
    ),
    ("ALTER TABLE entry ADD COLUMN a int", "ALTER TABLE entry DROP COLUMN b", "down.sql:1:1"),
    (
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1)", "DROP TABLE t; DROP TABLE t",
        "down.sql:1:15"
    ),
])
func aWayBackThatCannotWorkIsRefusedBeforeTheWindowAndNothingIsLeftOfTheTrial(
    up: String, down: String, place: String
) async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try migrations(("0001_a.up.sql", up), ("0001_a.down.sql", down)))
    // The first time everything of Sluice's is installed.
    _ = try await upgrade.failure(.expand)
    let before = try await site.catalog()
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "way-back")
    #expect(failure.message.contains("0001_a.\(place)"))
    #expect(try await site.catalog() == before)
    #expect(try await site.asSuperuser("SELECT FROM sluice.migration").isEmpty)
    await upgrade.close()
}

@Test
func aDownFileThatLeavesSomethingBehindIsAWarningAndNothingIsLeftOfTheTrial() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            ("0001_a.up.sql", "ALTER TABLE entry ADD COLUMN a int"),
            ("0001_a.down.sql", "SELECT 1")))
    _ = try await upgrade.done(.expand)
    let before = try await site.catalog()
    let report = try await upgrade.done(.expand)
    #expect(report.warnings.map(\.code) == ["way-back-incomplete"])
    #expect(report.warnings.first?.message.contains("0001_a.up.sql:1:1") == true)
    #expect(try await site.catalog() == before)
    await upgrade.close()
}

@Test
func aMigrationOfTheWindowThatFailsAlreadyIsRefusedBeforeIt() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try migrations(
            ("0001_a.up.sql", "ALTER TABLE entry ADD COLUMN a int"),
            ("0002_b.up.sql", "SELECT 1;\nSELECT 1 / (count(*) - count(*)) FROM entry")))
    let failure = try await upgrade.failure(.expand)
    #expect(failure.code == "sql")
    #expect(failure.message.hasPrefix("0002_b.up.sql:2:1"))
    await upgrade.close()
}

@Test(arguments: ["slow", "busy"])
func aTrialThatWouldKeepOthersWaitingIsGivenUpAndSaid(why: String) async throws {
    let site = try await Site.make()
    let holder = try await site.connect(as: "$app")
    if why == "busy" { try await holder.execute("BEGIN; SELECT FROM entry") }
    let upgrade = site.upgrade(
        try migrations(
            (
                "0001_a.up.sql",
                why == "busy" ? "ALTER TABLE entry ADD COLUMN a int" : "SELECT pg_sleep(20)"
            ),
            ("0001_a.down.sql", "SELECT 1"))
    ) { $0.trialBudget = .milliseconds(300) }
    let report = try await upgrade.done(.expand)
    #expect(report.warnings.map(\.code) == ["way-back-not-tried"])
    await upgrade.close()
}

@Test
func aWayBackThatWorksIsSaidToHaveBeenTriedAndOnlyAsFarAsThereAreDownFiles() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    let report = try await upgrade.done(.expand)
    #expect(report.lines.contains { $0.hasPrefix("tried the migrations of the window") })
    #expect(report.warnings.isEmpty)
    await upgrade.close()
    let half = site.upgrade(
        try migrations(
            (
                "0001_add_flag.up.sql",
                "-- sluice: expand\nALTER TABLE entry ADD COLUMN flag boolean;"
            ),
            ("0004_a.up.sql", "ALTER TABLE entry ADD COLUMN once int"),
            ("0005_b.up.sql", "ALTER TABLE entry ADD COLUMN again int"),
            ("0005_b.down.sql", "ALTER TABLE entry DROP COLUMN again")))
    try await half.done(.expand, epoch: 2, run: "r2")
    await half.close()
}
