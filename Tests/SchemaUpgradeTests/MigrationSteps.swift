// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

/// Files by name and text.
func migrations(_ files: (String, String)...) throws -> MigrationSet {
    try .read(files.map { .init(name: $0.0, text: $0.1) })
}

extension SchemaUpgrade {
    /// The tasks up to the migration.
    func fenced(epoch: Int64 = 1) async throws {
        try await done(.expand, epoch: epoch)
        try await done(.raiseFence, epoch: epoch)
        try await done(.census, epoch: epoch)
    }
}
