// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import SchemaUpgrade
import Testing
import UpgradeModel

/// The way that docs/when-it-goes-wrong.md shows out of a down file that cannot work: `retry` goes on after it.
@Test func whatAPersonHasUndoneAndStruckFromTheLedgerIsNotUndoneAgain() async throws {
    let site = try await Site.make(
        "SET ROLE $owner; CREATE TABLE note (id integer, body text NOT NULL); RESET ROLE")
    let upgrade = site.upgrade(
        try MigrationSet.read([
            .init(name: "0001_drop.up.sql", text: "ALTER TABLE note DROP COLUMN body"),
            .init(
                name: "0001_drop.down.sql", text: "ALTER TABLE note ADD COLUMN body text NOT NULL"),
        ]))
    // The trial of the way back meets an empty table; the rows come after it.
    try await upgrade.done(.expand)
    try await site.asSuperuser("INSERT INTO note VALUES (1, 'x')")
    try await upgrade.done(.raiseFence)
    try await upgrade.done(.census)
    try await upgrade.done(.migrate)
    _ = try await upgrade.failure(.revertMigrate)
    let person = try await site.connect(as: "$migrator")
    try await person.execute(
        """
        BEGIN;
        ALTER TABLE public.note ADD COLUMN body text NOT NULL DEFAULT 'unknown';
        ALTER TABLE public.note ALTER COLUMN body DROP DEFAULT;
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
