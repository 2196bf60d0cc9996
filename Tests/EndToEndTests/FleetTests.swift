// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Whole fleets: real nginx, real PostgreSQL, real processes, real clients and a browser. One at a time: they share two cores.
@Suite(.serialized, .timeLimit(.minutes(10))) struct FleetTests {
    static let phases = [
        "preflight", "stage", "read-only", "drain", "migrate", "rollout", "verify", "lift",
        "finish",
    ]

    /// Whether every case has a fleet of its own: with `SLUICE_ALL_KILLS=1`. Continuous integration has time for some of each kind.
    static let isWhole = ProcessInfo.processInfo.environment["SLUICE_ALL_KILLS"] != nil

    /// The cases of a test: all of them where there is time, else those that are named.
    static func cases<Case>(_ all: [Case], inIntegration some: [Case]) -> [Case] {
        isWhole ? all : some
    }

    /// Where a run fails by itself: before anything is closed, closed, migrated, activated everywhere, and after the point of no return.
    static let failures = cases(
        phases, inIntegration: ["stage", "drain", "migrate", "verify", "finish"])

    /// Whoever is killed, and in which phase: every pair, or every seventh one, so that each victim has its phases.
    static let kills: [(victim: String, phase: String)] = {
        let victims = ["coordinator", "agent", "migration"]
        let pairs = phases.flatMap { phase in victims.map { (victim: $0, phase: phase) } }
        let sample = pairs.enumerated().filter { $0.offset.isMultiple(of: 7) }.map(\.element)
        return cases(pairs, inIntegration: sample)
    }()

    /// Where a way back begins: once everything is another, and, where there is time, in the middle of it.
    static let turns = cases(["rollout", "verify"], inIntegration: ["verify"])

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

    @Test(arguments: failures) func aFailureInAnyPhaseLeavesEverythingAsItWas(phase: String)
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

    @Test(arguments: cases(["coordinator", "agent", "migration"], inIntegration: ["agent"]))
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

    @Test(.enabled(if: isWhole), arguments: ["coordinator", "agent"])
    func killedInTheSwitchTheRunEndsDoneOrRolledBack(victim: String) async throws {
        let run = try await runFleet("--by", "actions", "--kill", victim, "--in", "rollout")
        #expect(run.fallen.isEmpty)
    }

    /// Gates may open by themselves meanwhile, but not from the rollout on: then every write is held all that time.
    @Test(.enabled(if: isWhole), arguments: ["drain", "rollout"])
    func aCoordinatorThatWasAwayForLongerThanTheLeaseBringsTheRunToItsEnd(phase: String)
        async throws
    {
        let run = try await runFleet(
            "--kill", "coordinator", "--in", phase, "--away", "6")
        #expect(run.fallen.isEmpty)
    }
}
