// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import SchemaUpgrade
import Testing
import UpgradeModel

@Test func aRunGoesStraightThrough() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    let clock = ContinuousClock()
    for kind in [
        DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .migrate, .lowerFence, .contract,
    ] {
        let began = clock.now
        let report = try await upgrade.done(kind)
        print(kind, began.duration(to: clock.now), report.lines)
    }
    let ledger = try await site.asSuperuser("SELECT version, phase, run, epoch FROM sluice.migration ORDER BY 1")
    #expect(ledger.map { $0.cells.map { $0 ?? "" }.joined(separator: " ") } == [
        "0001 expand r1 1", "0002 switch r1 1", "0003 contract r1 1",
    ])
    #expect(try await site.asSuperuser("SELECT first FROM entry LIMIT 1")[0].text(0) == "Ada")
    let application = try await site.connect(as: "$app")
    try await application.execute("INSERT INTO entry (name) VALUES ('after')")
}
