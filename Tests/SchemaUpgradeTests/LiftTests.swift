// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import SchemaUpgrade
import Synchronization
import Testing
import UpgradeModel

/// What a lift leaves behind, and how it is taken away without keeping readers out.

/// A lifted fence of the run `r1`, with a trigger left on the table that somebody reads.
private func liftedSite() async throws -> (Site, SchemaUpgrade, reader: PostgresConnection) {
    let site = try await Site.make()
    let upgrade = site.upgrade()
    for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] { try await upgrade.done(kind) }
    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN; SELECT FROM entry")
    try await upgrade.done(.lowerFence)
    return (site, upgrade, reader)
}

private let triggers = "SELECT FROM pg_trigger WHERE tgname LIKE '%sluice%'"

@Test func triggersThatALaterFenceNeedsAreNotTakenAway() async throws {
    let (site, upgrade, reader) = try await liftedSite()
    try await reader.execute("COMMIT")
    #expect(try await site.asSuperuser(triggers).count == 1)
    // Another run raises its fence between this task's first look and its work.
    let other = try await site.connect(as: "postgres")
    try await other.execute(
        "BEGIN; UPDATE sluice.epoch SET run = 'r2'; UPDATE sluice.fence SET state = 'up', run = 'r2'"
    )
    async let outcome = upgrade.perform(.contract)
    try await poll {
        try await !site.asSuperuser(
            "SELECT FROM pg_stat_activity WHERE datname = '$db' AND wait_event_type = 'Lock'"
        ).isEmpty
    }
    try await other.execute("COMMIT")
    guard case .done = await outcome else {
        Issue.record("there was nothing to contract")
        return
    }
    #expect(try await site.asSuperuser(triggers).count == 1)
    #expect(
        try await site.asSuperuser("SELECT run, state FROM sluice.fence").map(\.cells) == [
            ["r2", "up"]
        ])
    await upgrade.close()
}

@Test func aNewFenceTakesOverWhatALiftHasLeft() async throws {
    let (site, upgrade, reader) = try await liftedSite()
    let next = site.upgrade { $0.drainTimeout = .milliseconds(300) }
    // Reading alone keeps nobody from raising.
    try await next.done(.raiseFence, run: "r2")
    let row = try await site.asSuperuser("SELECT run, state FROM sluice.fence")
    #expect(row.map(\.cells) == [["r2", "up"]])
    let application = try await site.connect(as: "$app")
    await #expect(throws: PostgresError.self) {
        try await application.execute("INSERT INTO entry (name) VALUES ('x')")
    }
    try await reader.execute("COMMIT")
    try await next.done(.census, run: "r2")
    // The first run's clearing up comes late.
    try await upgrade.done(.revertExpand)
    #expect(try await site.asSuperuser(triggers).count == 1)
    try await next.done(.lowerFence, run: "r2")
    try await application.execute("INSERT INTO entry (name) VALUES ('x')")
    #expect(try await site.asSuperuser(triggers).isEmpty)
    for upgrade in [upgrade, next] { await upgrade.close() }
}

@Test
func readersOfAnyTableGoOnWhileTheFencesTriggersAreTakenAwayFromBusyOnes() async throws {
    let busy = (1...120).map { "busy\($0)" }
    let site = try await Site.make(
        ";" + busy.map { "CREATE TABLE \($0) (); GRANT SELECT ON \($0) TO $app;" }.joined())
    let upgrade = site.upgrade { $0.lockPatience = .seconds(2) }
    for kind in [DatabaseTask.Kind.expand, .raiseFence, .census] { try await upgrade.done(kind) }
    let reader = try await site.connect(as: "$app")
    try await reader.execute(
        "BEGIN; LOCK TABLE \(busy.joined(separator: ", ")) IN ACCESS SHARE MODE")
    // A free one, whose lock must not be kept while others are waited for, and a busy one, in whose queue readers wait.
    let hasEnded = Mutex(false)
    async let probes: [Int] = ["entry", "busy7"].concurrently { table in
        let probe = try await site.connect(as: "$app")
        try await probe.execute("SET lock_timeout = '400ms'")
        var reads = 0
        while !hasEnded.withLock({ $0 }) {
            try await probe.query("SELECT FROM \(table)")
            reads += 1
        }
        return reads
    }
    try await upgrade.done(.lowerFence)
    let failure = try await upgrade.failure(.contract)
    hasEnded.withLock { $0 = true }
    #expect(try await probes.allSatisfy { $0 > 0 })
    #expect(failure.code == "fence-left-over")
    #expect(try await site.asSuperuser(triggers).count == 120)
    try await reader.execute("COMMIT")
    try await upgrade.done(.contract)
    #expect(try await site.asSuperuser(triggers).isEmpty)
    await upgrade.close()
}

extension Array where Element: Sendable {
    fileprivate func concurrently<Value: Sendable>(
        _ body: @Sendable @escaping (Element) async throws -> Value
    ) async throws -> [Value] {
        try await withThrowingTaskGroup(of: Value.self) { group in
            for element in self { group.addTask { try await body(element) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }
}
