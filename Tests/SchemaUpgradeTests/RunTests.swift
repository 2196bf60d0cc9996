// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import SchemaUpgrade
import Testing
import UpgradeModel

@Test func aRunGoesStraightThrough() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    for kind in [
        DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .migrate, .lowerFence,
        .contract,
    ] {
        try await upgrade.done(kind)
    }
    let ledger = try await site.asSuperuser(
        "SELECT version, phase, run, epoch FROM sluice.migration ORDER BY 1")
    #expect(
        ledger.map { $0.cells.map { $0 ?? "" }.joined(separator: " ") } == [
            "0001 expand r1 1", "0002 switch r1 1", "0003 contract r1 1",
        ])
    #expect(try await site.asSuperuser("SELECT first FROM entry LIMIT 1")[0].text(0) == "Ada")
    let application = try await site.connect(as: "$app")
    try await application.execute("INSERT INTO entry (name) VALUES ('after')")
}

/// Prints what the database adds to the write window; asserts nothing about it.
@Test func theWindowsDatabasePartIsMeasured() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    try await upgrade.done(.expand)
    let clock = ContinuousClock()
    var taken: [DatabaseTask.Kind: [Duration]] = [:]
    for _ in 0..<20 {
        for kind in [DatabaseTask.Kind.raiseFence, .census, .migrate, .revertMigrate, .lowerFence] {
            let began = clock.now
            try await upgrade.done(kind)
            taken[kind, default: []].append(began.duration(to: clock.now))
        }
    }
    for (kind, durations) in taken.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        let sorted = durations.sorted()
        print("window: \(kind) first \(durations[0]), least \(sorted[0]), median \(sorted[10])")
    }
}
