// SPDX-License-Identifier: Apache-2.0

import Glibc
import MigrationReader
import PostgresClient
import PostgresTestSupport
import SchemaUpgrade
import Testing
import TestSupport
import UpgradeModel

/// Rows that are changed in batches while the application writes.
@Suite struct BatchesOfRows {
    private static let fill = """
        UPDATE entry SET flag = true WHERE id IN (SELECT id FROM entry WHERE flag IS NULL ORDER BY id LIMIT 4)
        """

    private static func files(_ words: String) throws -> MigrationSet {
        try MigrationSet.read([
            .init(
                name: "0001_flag.up.sql",
                text: "-- sluice: expand\nALTER TABLE entry ADD COLUMN flag boolean"),
            .init(name: "0001_flag.down.sql", text: "ALTER TABLE entry DROP COLUMN flag"),
            .init(name: "0002_fill.up.sql", text: "-- sluice: expand \(words)\n\(fill)"),
            .init(name: "0002_fill.down.sql", text: "SELECT 1"),
        ])
    }

    /// Each in a transaction of its own: ten rows by four are three, and the fourth finds none.
    @Test func areChangedUntilNoneIsLeftEachBatchInATransactionOfItsOwn() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(try Self.files("repeat=1ms lag=1GB"))
        let report = try await upgrade.done(.expand)
        #expect(report.lines.last == "0002_fill.up.sql:2: 10 rows in 3 batches")
        let found = try await site.asSuperuser(
            "SELECT count(DISTINCT xmin::text), count(*) FILTER (WHERE flag) FROM entry")[0]
        #expect(found.text(0) == "3" && found.text(1) == "10")
        #expect(await upgrade.progress() == nil)
        #expect(try await site.asSuperuser("SELECT FROM sluice.progress").isEmpty)
        try await upgrade.done(.revertExpand)
        await upgrade.close()
    }

    @Test func thatWereChangedStayAndTheNextAttemptGoesOnWithTheRest() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(try Self.files("repeat=1h"))
        async let outcome = upgrade.perform(.expand)
        try await poll { await upgrade.progress() == "0002_fill.up.sql:2: 4 rows in 1 batch" }
        await upgrade.cancel()
        guard case .failed(let failure) = await outcome else {
            Issue.record("not stopped")
            return
        }
        #expect(failure.code == "cancelled")
        #expect(
            try await site.asSuperuser("SELECT count(*) FROM entry WHERE flag")[0].text(0) == "4")
        await upgrade.close()

        let next = site.upgrade(try Self.files("repeat=1ms"))
        let report = try await next.done(.expand)
        #expect(report.lines.last == "0002_fill.up.sql:2: 6 rows in 2 batches")
        await next.close()
    }

    @Test func thatAreTooManyForThePhaseFailWithTheWayOn() async throws {
        let site = try await Site.make()
        let upgrade = site.upgrade(try Self.files("repeat=1h")) {
            $0.patience[.expand] = .seconds(2)
        }
        let failure = try await upgrade.failure(.expand)
        #expect(failure.code == "batches")
        #expect(failure.message.contains("4 rows in 1 batch, and more are left"))
        let advice = try #require(failure.advice)
        #expect(advice.contains("deadlines.stage"))
        // The advice, followed.
        await upgrade.close()
        let next = site.upgrade(try Self.files("repeat=1ms"))
        try await next.done(.expand)
        #expect(try await site.asSuperuser("SELECT FROM entry WHERE flag IS NULL").isEmpty)
        await next.close()
    }

    @Test func waitForWhoeverStreamsTheLogAndIsTooFarBehind() async throws {
        // A server of its own: what other tests write to the log of theirs keeps whoever streams it behind.
        let site = try await Site.make(on: PostgresCluster())
        let directory = try TemporaryDirectory()
        let cluster = site.cluster
        let stream = try ChildProcess(
            [
                "\(cluster.programs)/pg_receivewal", "-D", directory.path, "--no-loop", "-s", "1",
                "-d",
                "host=\(cluster.directory) port=\(cluster.port) user=\(PostgresCluster.superuser) application_name=\(site.database)",
            ], output: directory.path + "/output")
        let streaming = """
            SELECT FROM pg_stat_replication WHERE application_name = '$db' AND state = 'streaming' AND write_lsn IS NOT NULL
            """
        try await poll { try await !site.asSuperuser(streaming).isEmpty }
        stream.signal(SIGSTOP)
        // More of the log than the header allows.
        try await site.asSuperuser(
            "CREATE TABLE noise AS SELECT repeat(md5(n::text), 40) AS t FROM generate_series(1, 5000) AS n"
        )
        let upgrade = site.upgrade(try Self.files("repeat=1ms lag=1MB"))
        async let outcome = upgrade.perform(.expand)
        try await poll {
            await upgrade.progress()?.contains("0 rows in 0 batches, waits for \(site.database)")
                == true
        }
        stream.signal(SIGCONT)
        guard case .done(let report) = await outcome else {
            Issue.record("\(await outcome)")
            return
        }
        #expect(report.lines.last == "0002_fill.up.sql:2: 10 rows in 3 batches")
        stream.end(SIGINT)
        await upgrade.close()
    }
}
