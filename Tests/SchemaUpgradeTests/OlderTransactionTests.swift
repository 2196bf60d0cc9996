// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import SchemaUpgrade
import Testing
import UpgradeModel

/// Nodes hold reads while the census is taken only where it will wait for nobody, and the fence says whether it will.
@Suite struct OlderTransactionTests {
    @Test func theFenceSaysHowManyTheCensusWillWaitFor() async throws {
        let site = try await Site.make(
            ";CREATE ROLE report_$db LOGIN; GRANT SELECT ON entry TO report_$db;")
        let upgrade = site.upgrade { $0.drainTimeout = .milliseconds(100) }
        #expect(try await upgrade.done(.raiseFence).older == 0)
        try await upgrade.done(.lowerFence)
        let reader = try await site.connect(as: "report_$db")
        try await reader.execute("BEGIN; SELECT count(*) FROM entry")
        #expect(
            try await upgrade.done(.raiseFence, run: "r2").older == 0, "who only reads is spared")
        try await upgrade.done(.lowerFence, run: "r2")
        let application = try await site.connect(as: "$app")
        try await application.execute("BEGIN; SELECT count(*) FROM entry")
        #expect(try await upgrade.done(.raiseFence, run: "r3").older == 1)
        #expect(
            try await upgrade.done(.raiseFence, run: "r3").older == nil,
            "it was up already, and nobody has looked")
        try await upgrade.done(.lowerFence, run: "r3")
        for session in [reader, application] { await session.close() }
        await upgrade.close()
    }
}
