// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import SchemaUpgrade
import Testing
import UpgradeModel

/// The way that docs/when-it-goes-wrong.md shows out of a down file that cannot work: `retry` goes on after it.
@Test func whatAPersonHasUndoneAndStruckFromTheLedgerIsNotUndoneAgain() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try MigrationSet.read([
            .init(name: "0001_drop.up.sql", text: "ALTER TABLE entry DROP COLUMN name"),
            .init(
                name: "0001_drop.down.sql", text: "ALTER TABLE entry ADD COLUMN name text NOT NULL"),
        ]))
    try await upgrade.done(.expand)
    try await upgrade.done(.raiseFence)
    try await upgrade.done(.census)
    try await upgrade.done(.migrate)
    _ = try await upgrade.failure(.revertMigrate)
    let person = try await site.connect(as: "$migrator")
    try await person.execute(
        """
        BEGIN;
        ALTER TABLE public.entry ADD COLUMN name text NOT NULL DEFAULT 'unknown';
        ALTER TABLE public.entry ALTER COLUMN name DROP DEFAULT;
        DELETE FROM sluice.migration WHERE version = '0001';
        COMMIT
        """)
    await person.close()
    try await upgrade.done(.revertMigrate, attempt: 2)
    try await upgrade.done(.lowerFence)
    try await upgrade.done(.revertExpand)
    let application = try await site.connect(as: "$app")
    try await application.execute("INSERT INTO entry (name) VALUES ('after')")
}
