// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import SchemaUpgrade
import Testing
import UpgradeModel

@Test func aLookFindsWhatPreflightFinds() async throws {
    let site = try await Site.make("; ALTER ROLE $app CREATEROLE")
    let looked = try #require(failure(await site.upgrade(try .guestbook()).look()))
    let preflight = try await site.upgrade(try .guestbook()).failure(.preflight)
    #expect(looked.code == preflight.code)
    #expect(looked.findings.map(\.code) == preflight.findings.map(\.code))
}

/// Neither finds the other's session in its way.
@Test func aLookAndThePreflightOfARunDoNotDisturbEachOther() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    try await upgrade.done(.preflight)  // The session of the run stays open.
    let during = try #require(failure(await site.upgrade(try .guestbook()).look()))
    #expect(during.code == "other-run")
    await upgrade.close()
    async let looks: Void = {
        for _ in 0..<5 { _ = await site.upgrade(try .guestbook()).look() }
    }()
    for _ in 0..<5 { try await site.upgrade(try .guestbook()).done(.preflight) }
    try await looks
}

@Test func aLookCannotWriteAndLeavesNoSession() async throws {
    let site = try await Site.make()
    let before = try (await site.catalog(), site.schemaDump())
    guard case .done = await site.upgrade(try .guestbook()).look() else {
        Issue.record("the database is ready, and the look does not say so")
        return
    }
    #expect(try await site.catalog() == before.0)
    #expect(try site.schemaDump() == before.1)
    try await poll {
        try await site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE application_name LIKE 'sluice%' AND datname = current_database()"
        ).isEmpty
    }
}

private func failure(_ outcome: DatabaseOutcome) -> DatabaseFailure? {
    if case .failed(let failure) = outcome { failure } else { nil }
}
