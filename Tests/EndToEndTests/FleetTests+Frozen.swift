// SPDX-License-Identifier: Apache-2.0

import Testing

/// A fleet whose primary has a standby: the old release reads there while the primary is migrated, and goes on there when that fails.
extension FleetTests {
    /// No read fails, none sees a mixed pair, and replication is byte for byte what it was.
    @Test func readersNoticeNothingWhileTheyReadFromAFrozenStandby() async throws {
        let run = try await runFleet("--frozen", "--entries", "20000", "--before", "3")
        #expect(run.fallen.isEmpty)
    }

    /// Before the migration everything is as before; later the standby becomes the primary, with everything that was acknowledged, and the
    /// first one takes no write again.
    @Test(
        .enabled(if: isWhole),
        arguments: ["stage", "drain", "migrate", "migrated", "canary", "rollout", "verify", "lift"])
    func aMigrationThatHasHappenedIsLeftBehindByPromotion(phase: String) async throws {
        let run = try await runFleet("--frozen", "--entries", "20000", "--fail", phase)
        #expect(run.fallen.isEmpty)
    }

    /// What the page says is to be done after a promotion leads back to where one began, and the upgrade is run again.
    @Test(.enabled(if: isWhole)) func afterAPromotionTheServersChangePlaces() async throws {
        let run = try await runFleet(
            "--frozen", "--entries", "20000", "--fail", "rollout", "--again")
        #expect(run.fallen.isEmpty)
    }

    /// The application's own tool migrates, and the new release cannot start before: readers notice neither. One that does not start is
    /// left behind like any other.
    @Test(.enabled(if: isWhole), arguments: [["--tool", "done"], ["--fail", "rollout"]])
    func aReleaseThatStartsOnTheNewSchemaAloneIsNoticedByNobody(options: [String]) async throws {
        let run = try await runFleet(
            ["--frozen", "--entries", "20000", "--start", "after-migration"] + options)
        #expect(run.fallen.isEmpty)
    }

    /// Behind a pgbouncer on each node, which the node's own action leads to the standby and back.
    @Test(.enabled(if: isWhole), arguments: [[], ["--fail", "verify"]])
    func anApplicationThatRunsOnceIsLedToTheStandbyAndBack(options: [String]) async throws {
        let run = try await runFleet(
            ["--frozen", "--repoint", "pgbouncer", "--entries", "20000"] + options)
        #expect(run.fallen.isEmpty)
    }

    /// Whoever is killed: done, or back, or a person is told what to do, whose next try ends it; never two servers that take writes.
    @Test(
        .enabled(if: isWhole),
        arguments: ["coordinator", "agent", "standby", "primary", "receiver", "leader"],
        [
            "nodes:reader", "database:freezeStandby", "migrate", "rollout", "database:feedStandby",
            "back:database:promoteBehindFence", "back:database:promoteStandby",
        ])
    func aKillWithAStandbyLosesNothing(victim: String, phase: String) async throws {
        let run = try await runFleet(
            "--frozen", "--entries", "20000", "--kill", victim, "--in", phase)
        #expect(run.fallen.isEmpty)
    }
}
