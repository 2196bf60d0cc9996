// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Whole fleets: real nginx, real PostgreSQL, real processes, real clients and a browser. One at a time: they share two cores.
@Suite(.serialized, .timeLimit(.minutes(10))) struct FleetTests {
    static let phases = [
        "preflight", "stage", "read-only", "drain", "migrate", "rollout", "verify", "lift",
        "finish",
    ]

    /// Whoever is killed, and in which phase: every pair with `SLUICE_ALL_KILLS=1`, else every fifth one, so that each victim has
    /// its phases within the time that continuous integration has.
    static let kills: [(victim: String, phase: String)] = {
        let isWhole = ProcessInfo.processInfo.environment["SLUICE_ALL_KILLS"] != nil
        let victims = ["coordinator", "agent", "migration"]
        let pairs = phases.flatMap { phase in victims.map { (victim: $0, phase: phase) } }
        return pairs.enumerated().filter { isWhole || $0.offset.isMultiple(of: 5) }.map(\.element)
    }()

    /// Where a way back begins: once everything is another, and, where there is time for all kills, in the middle of it.
    static let turns =
        ProcessInfo.processInfo.environment["SLUICE_ALL_KILLS"] == nil
        ? ["verify"] : ["rollout", "verify"]

    @Test func onePlanTakesAFleetToTheNextReleaseWhileItsReadersKeepReading() async throws {
        let run = try await runFleet("--browser")
        #expect(run.fallen.isEmpty)
    }

    /// As on managed servers: the migrator belongs to the owner of the tables, and is no superuser.
    @Test func aMigratorThatIsNoSuperuserTakesAFleetToTheNextRelease() async throws {
        let run = try await runFleet("--fence", "owner")
        #expect(run.fallen.isEmpty)
    }

    /// A person reads why a run waits, and does to the letter what status, watch and report advise.
    @Test func whatIsAdvisedWhereARunWaitsLeadsOn() async throws {
        let run = try await runFleet(
            "refused", "mended", "by-hand", "tool-without-way-back", "glass", harness: "advice.py")
        #expect(run.fallen.isEmpty)
    }

    @Test func refusedWritesGetOnly503WithRetryAfter() async throws {
        let run = try await runFleet("--refuse")
        #expect(run.fallen.isEmpty)
    }

    @Test(arguments: phases) func aFailureInAnyPhaseLeavesEverythingAsItWas(phase: String)
        async throws
    {
        let run = try await runFleet("--fail", phase)
        #expect(run.fallen.isEmpty)
    }

    @Test(arguments: kills)
    func killedInAnyPhaseTheRunEndsDoneOrRolledBack(victim: String, phase: String) async throws {
        let run = try await runFleet("--kill", victim, "--in", phase)
        #expect(run.fallen.isEmpty)
    }

    /// v2 refuses to start on the schema of v1: it starts in the window, on all nodes at once.
    @Test func aReleaseThatRefusesTheOldSchemaStartsAfterTheMigration() async throws {
        let run = try await runFleet("--start", "after-migration")
        #expect(run.fallen.isEmpty)
    }

    @Test(arguments: turns)
    func aReleaseThatStartedAfterTheMigrationIsHaltedOnTheWayBack(phase: String) async throws {
        let run = try await runFleet("--start", "after-migration", "--fail", phase)
        #expect(run.fallen.isEmpty)
    }

    @Test(arguments: ["coordinator", "agent", "migration"])
    func killedWhileTheReleaseStartsTheRunEndsDoneOrRolledBack(victim: String) async throws {
        let run = try await runFleet(
            "--start", "after-migration", "--kill", victim, "--in", "rollout", "--after", "0.3")
        #expect(run.fallen.isEmpty)
    }

    /// As a container image: a directory by version, and one service that is switched.
    @Test func aVersionThatTheNodesFetchAndSwitchThemselvesIsUpgradedTo() async throws {
        let run = try await runFleet("--by", "actions")
        #expect(run.fallen.isEmpty)
    }

    @Test(arguments: turns)
    func aVersionIsSwitchedBackOnTheWayBack(phase: String) async throws {
        let run = try await runFleet("--by", "actions", "--fail", phase)
        #expect(run.fallen.isEmpty)
    }

    @Test(arguments: ["coordinator", "agent"])
    func killedInTheSwitchTheRunEndsDoneOrRolledBack(victim: String) async throws {
        let run = try await runFleet("--by", "actions", "--kill", victim, "--in", "rollout")
        #expect(run.fallen.isEmpty)
    }

    /// Gates may open by themselves meanwhile, but not from the rollout on: then every write is held all that time.
    @Test(arguments: ["drain", "rollout"])
    func aCoordinatorThatWasAwayForLongerThanTheLeaseBringsTheRunToItsEnd(phase: String)
        async throws
    {
        let run = try await runFleet(
            "--kill", "coordinator", "--in", phase, "--away", "6")
        #expect(run.fallen.isEmpty)
    }
}
