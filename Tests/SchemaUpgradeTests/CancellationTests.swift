// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import UpgradeModel

private func task(_ kind: DatabaseTask.Kind, attempt: Int = 1) -> DatabaseTask {
    DatabaseTask(
        kind: kind, run: RunIdentifier(unchecked: "r1"), epoch: Epoch(rawValue: 1),
        attempt: attempt)
}

extension DatabaseOutcome {
    fileprivate var code: String {
        switch self {
        case .done: "done"
        case .failed(let failure): failure.code + (failure.effect == .none ? "" : "?")
        }
    }
}

/// In a partition libpq waits as long as the kernel does; whoever stops a task does not.
@Test func whoCancelsDoesNotWaitForAServerThatDoesNotAnswer() async throws {
    let site = try await Site.make()
    let proxy = try CutProxy(server: site.cluster.port)
    let connection = try await PostgresConnection.connect(
        ConnectionOptions(
            address: "host=127.0.0.1 port=\(proxy.port) user=postgres dbname=\(site.database)",
            applicationName: "test"))
    proxy.ignoreNewcomers()
    // The second finds the first on its way.
    await connection.cancel()
    await connection.cancel()
    #expect(try await connection.query("SELECT 1").count == 1)
    await connection.close()
    proxy.stop()
}

@Test(arguments: DatabaseTask.Kind.allCases)
func aTaskThatIsStoppedBeforeItBeginsDoesNothing(kind: DatabaseTask.Kind) async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    let before = try await site.catalog()
    await upgrade.cancel(task(kind))
    // Whoever stops a task need not know what is left of its budget.
    var budgeted = task(kind)
    budgeted.budget = .seconds(7)
    #expect(await upgrade.perform(budgeted).code == "cancelled")
    #expect(try await site.catalog() == before)
    // It was that task alone: asked for again, it comes with another number.
    #expect(await upgrade.perform(task(kind, attempt: 2)).code != "cancelled")
    await upgrade.close()
}

@Test func stoppingATaskThatHasEndedStopsNoOther() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(try .guestbook())
    for kind in [
        DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .migrate, .lowerFence,
        .contract,
        .revertMigrate, .revertExpand,
    ] {
        #expect(await upgrade.perform(task(kind)).code == "done", "\(kind)")
        await upgrade.cancel(task(kind))
    }
    await upgrade.close()
}

@Test func theNextTaskMayBeStoppedWhileOneIsUnderWay() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade(
        try .read([.init(name: "0001_slow.up.sql", text: "-- sluice: expand\nSELECT pg_sleep(90)")])
    )
    async let outcome = upgrade.perform(task(.expand))
    let sleeping =
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '$db'"
    try await poll { try await !site.asSuperuser(sleeping).isEmpty }
    await upgrade.cancel(task(.raiseFence))
    #expect(try await site.asSuperuser(sleeping).count == 1)
    await upgrade.cancel(task(.expand))
    #expect(await outcome.code == "cancelled")
    #expect(await upgrade.perform(task(.raiseFence)).code == "cancelled")
    #expect(try await site.asSuperuser("SELECT FROM sluice.fence").isEmpty)
    await upgrade.close()
}

@Test func aRaiseThatIsStoppedTakesItsFenceDownAgain() async throws {
    let site = try await Site.make()
    let before = try await site.catalog()
    let upgrade = site.upgrade { $0.drainTimeout = .seconds(60) }
    let writer = try await site.connect(as: "$app")
    try await writer.execute("BEGIN; INSERT INTO entry (name) VALUES ('x')")
    async let outcome = upgrade.perform(task(.raiseFence))
    try await poll {
        try await site.asSuperuser("SELECT to_regclass('sluice.fence')")[0][0] != nil
    }
    try await poll { try await site.asSuperuser("SELECT FROM sluice.fence").count == 1 }
    await upgrade.cancel(task(.raiseFence))
    #expect(await outcome.code == "cancelled")
    try await writer.execute("COMMIT")
    #expect(try await site.catalog() == before)
    await upgrade.close()
}

@Test func clearingUpAfterTheLiftCanBeStopped() async throws {
    let site = try await Site.make()
    let upgrade = site.upgrade { $0.lockPatience = .seconds(60) }
    for kind in [DatabaseTask.Kind.raiseFence, .census] { try await upgrade.done(kind) }
    let reader = try await site.connect(as: "$app")
    try await reader.execute("BEGIN; SELECT * FROM entry")
    try await upgrade.done(.lowerFence)
    async let outcome = upgrade.perform(task(.contract))
    try await poll {
        try await !site.asSuperuser(
            "SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted AND relation = 'entry'::regclass"
        ).isEmpty
    }
    await upgrade.cancel(task(.contract))
    #expect(await outcome.code == "cancelled")
    try await reader.execute("COMMIT")
    try await upgrade.done(.contract, attempt: 2)
    await upgrade.close()
}
