// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private let old: [(String, String)] = [
    ("0001_a.up.sql", "-- sluice: expand\nCREATE TABLE a (x int)"),
    ("0002_b.up.sql", "-- sluice: expand\nCREATE TABLE b (x int)"),
    ("0003_c.up.sql", "-- sluice: expand\nCREATE TABLE c (x int)"),
]

private func read(_ files: [(String, String)]) throws -> MigrationSet {
    try .read(files.map { .init(name: $0.0, text: $0.1) })
}

/// - Parameter count: so many of the old files have been applied.
private func site(_ count: Int) async throws -> Site {
    let site = try await Site.make()
    if count > 0 {
        let upgrade = site.upgrade(try read(Array(old.prefix(count))))
        try await upgrade.done(.expand, run: "r0")
        await upgrade.close()
    }
    return site
}

@Test
func filesThatAreAppliedMayGoWhenANewerOneRequiresThem() async throws {
    let newer = ("0004_d.up.sql", "-- sluice: expand requires=0003\nCREATE TABLE d (x int)")
    for kept in [[], [old[2]], [old[0], old[2]]] {
        let site = try await site(3)
        let upgrade = site.upgrade(try read(kept + [newer]))
        try await upgrade.done(.expand, epoch: 2, run: "r1")
        // And in the release after it.
        try await upgrade.done(.expand, epoch: 3, run: "r2")
        await upgrade.close()
    }
    for applied in [0, 2] {
        let site = try await site(applied)
        let upgrade = site.upgrade(try read([newer]))
        #expect(
            try await upgrade.failure(.expand, epoch: 2, run: "r1").findings.contains {
                $0.code == "migration-requires"
            })
        await upgrade.close()
    }
}

@Test(arguments: ["0003_all.up.sql", "0001_all.up.sql", "0002_all.up.sql"])
func aFileThatReplacesOthersRunsWhereNoneIsAppliedAndNotWhereAllAre(name: String) async throws {
    let squashed = [
        (
            name,
            "-- sluice: expand replaces=0001-0003\nCREATE TABLE a (x int); CREATE TABLE b (x int); CREATE TABLE c (x int)"
        ),
        ("0004_d.up.sql", "-- sluice: expand\nCREATE TABLE d (x int)"),
    ]
    for applied in [0, 3] {
        let site = try await site(applied)
        let upgrade = site.upgrade(try read(squashed))
        try await upgrade.done(.expand, epoch: 2, run: "r1")
        try await upgrade.done(.expand, epoch: 3, run: "r2")
        #expect(
            try await site.asSuperuser("SELECT FROM pg_class WHERE relname IN ('a', 'b', 'c', 'd')")
                .count == 4)
        await upgrade.close()
    }
    for applied in [1, 2] {
        let site = try await site(applied)
        let upgrade = site.upgrade(try read(squashed))
        let failure = try await upgrade.failure(.expand, epoch: 2, run: "r1")
        #expect(failure.findings.contains { $0.code == "migration-replaces" })
        await upgrade.close()
    }
}

@Test
func aFileThatIsGoneWithoutAWordIsMissedWithTheWayToRetireIt() async throws {
    let site = try await site(3)
    let upgrade = site.upgrade(try read([old[2]]))
    let failure = try await upgrade.failure(.expand, epoch: 2, run: "r1")
    #expect(failure.code == "migration-missing")
    #expect(failure.advice?.contains("requires=0001") == true)
    await upgrade.close()
}
