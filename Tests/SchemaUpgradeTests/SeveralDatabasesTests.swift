// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Two databases of one server in one run, with the same migrator.
@Suite struct SeveralDatabasesTests {
    @Test func aDatabaseIsKnownByItsPlaceUnderWhateverNameItIsReached() async throws {
        let (one, other) = (try await Site.make(), try await Site.make())
        let upgrades = [
            one.upgrade(),
            one.upgrade { $0.address = one.cluster.url(one.database, user: one.migrator) },
            other.upgrade(),
        ]
        var places: [String?] = []
        for upgrade in upgrades {
            places.append(try await upgrade.done(.preflight).place)
            await upgrade.close()
        }
        #expect(places[0] != nil && places[0] == places[1])
        #expect(places[2] != places[0])
    }

    /// A run has fences raised, proved and lowered side by side.
    private func together(_ upgrades: [SchemaUpgrade], _ kind: DatabaseTask.Kind) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for upgrade in upgrades { group.addTask { _ = try await upgrade.done(kind) } }
            try await group.waitForAll()
        }
    }

    /// Sessions, locks and fences are of their own database: none of them is in the other's way.
    @Test func twoDatabasesOfOneServerAreFencedAndMigratedInOneRun() async throws {
        let (first, second) = (try await Site.make(), try await Site.make())
        let files = try migrations(
            ("0001_note.up.sql", "ALTER TABLE entry ADD COLUMN note text"),
            ("0001_note.down.sql", "ALTER TABLE entry DROP COLUMN note"))
        let migrator = first.migrator
        let upgrades = [
            first.upgrade(files),
            second.upgrade(files) {
                $0.address = second.cluster.address(second.database, user: migrator)
            },
        ]
        let before = [try first.schemaDump(), try second.schemaDump()]
        for kind in [DatabaseTask.Kind.preflight, .expand] {
            for upgrade in upgrades { try await upgrade.done(kind) }
        }
        for kind in [DatabaseTask.Kind.raiseFence, .census] {
            try await together(upgrades, kind)
        }
        try await upgrades[0].done(.migrate)
        for site in [first, second] {
            let application = try await site.connect(as: "$app")
            await #expect(throws: PostgresError.self) {
                try await application.execute("INSERT INTO entry (name) VALUES ('x')")
            }
        }
        // The second one fails, as it were: the first is undone before either fence is lowered.
        for upgrade in upgrades.reversed() { try await upgrade.done(.revertMigrate) }
        try await together(upgrades, .lowerFence)
        for upgrade in upgrades.reversed() { try await upgrade.done(.revertExpand) }
        for (site, before) in zip([first, second], before) {
            #expect(try site.schemaDump() == before)
            let application = try await site.connect(as: "$app")
            try await application.execute("INSERT INTO entry (name) VALUES ('x')")
        }
        for upgrade in upgrades { await upgrade.close() }
    }
}
