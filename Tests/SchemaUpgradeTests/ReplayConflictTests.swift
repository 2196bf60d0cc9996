// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import PostgresTestSupport
import Testing

@testable import SchemaUpgrade

/// Seen with 1.5 million rows: 40 seconds behind, the standby cancelled the question whether it had caught up, and the task failed.
@Test func aQuestionThatReplayHasCancelledIsAskedAgain() async throws {
    let frozen = try await FrozenSite.make()
    for command in [
        "ALTER SYSTEM SET max_standby_streaming_delay = 0", "SELECT pg_reload_conf()",
    ] { _ = try await frozen.onStandby(command) }
    let primary = frozen.site.observer
    _ = try await primary.execute(
        "INSERT INTO entry (name) SELECT 'gone' FROM generate_series(1, 100)")
    try await poll { try await frozen.follows() }
    let asked = try await PostgresConnection.connect(
        ConnectionOptions(
            address: frozen.standby.address(frozen.site.database), applicationName: "asked"))
    let attempts = Attempts()
    async let answer = frozen.upgrade().despiteReplay {
        // The first one keeps its view of the table until it is cancelled.
        let isFirst = await attempts.next() == 1
        return try await asked.query(
            "SELECT count(*), pg_sleep(\(isFirst ? 60 : 0)) FROM entry")[0].integer(0)
    }
    try await poll {
        try await !frozen.onStandby(
            "SELECT FROM pg_stat_activity WHERE application_name = 'asked' AND wait_event = 'PgSleep'"
        ).isEmpty
    }
    _ = try await primary.execute("DELETE FROM entry")
    _ = try await primary.execute("VACUUM entry")
    #expect(try await answer == 0)
    #expect(await attempts.made > 1)
    await asked.close()
}

private actor Attempts {
    private(set) var made = 0

    func next() -> Int {
        made += 1
        return made
    }
}
