// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeEngine
import UpgradeModel

/// Runs told as transcripts under Tests/Scenarios. `SLUICE_REGENERATE=1 swift test` writes them anew; review them as a diff.
@Suite struct ScenarioTests {
    static func plan(
        onFailure: String = "rollback", budget: Int = 0, stragglers: String = "terminate",
        approvals: String = "[]", reads: String = "hold", batches: String = "1",
        start: String = "warm", sessions: String? = nil, tool: String? = nil,
        databases: [String] = [], otherTool: String? = nil, leftOutAtMost: Int? = nil
    ) -> String {
        let sites =
            leftOutAtMost == nil ? "" : ", leave_out_with: {close: close-site, open: open-site}"
        let most = leftOutAtMost.map { "\nfailed_databases_at_most: \($0)" } ?? ""
        return """
            fleet: guestbook
            nodes:
              labels: {role: web}
            release: {name: v2, expected: v1, bundle: ../v2}
            database: {url: env:URL, migrations: ../migrations\(reads == "standby" ? ", standby: {url: env:STANDBY_URL}" : "")\(tool.map { ", migrate_with: {\($0)}" } ?? "")\(sites)}\(others(databases, otherTool, sites))\(most)
            reads: {\(reads == "standby" ? "from" : "while_migrating"): \(reads)\(sessions.map { ", sessions: {\($0)}" } ?? "")}
            drain: {timeout: 5s, stragglers: \(stragglers)}
            rollout:
              warm: [start-app]
              start: \(start)
              canary: 1
              batches: \(batches)
              failure_budget: \(budget)
              health: {check: page, deadline: 30s, consecutive: 1}
              actions: [reload]
              caches: [pages]
              retire: [stop-app]
            approvals: \(approvals)
            on_failure: \(onFailure)
            """
    }

    /// Databases besides the one under `database`.
    private static func others(_ names: [String], _ tool: String?, _ sites: String) -> String {
        let migrating = tool.map { ", migrate_with: {\($0)}" } ?? ""
        let sections = names.map {
            "\($0): {url: env:\($0.uppercased()), migrations: ../\($0)\(migrating)\(sites)}"
        }
        return names.isEmpty ? "" : "\ndatabases: {\(sections.joined(separator: ", "))}"
    }

    @Test func theStraightRunEndsDone() throws {
        var world = ScenarioWorld()
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "straight-run")
    }

    @Test func aPlanWithoutReadsHeldNeverHoldsThem() throws {
        var world = ScenarioWorld()
        world.start(Self.plan(reads: "serve"))
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(!world.text.contains("reads hold"))
    }

    @Test(arguments: ["web-1", "web-2"]) func aNodeThatIsNotHealthyAfterActivationTurnsTheRunBack(
        name: String
    ) throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: name)]?.isUnhealthy = true
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(
            world, name == "web-1" ? "canary-unhealthy" : "second-batch-unhealthy")
    }

    @Test func anActionThatFailsOnTheCanaryTurnsTheRunBack() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.failingTask = "reload"
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(world, "canary-action-fails")
    }

    @Test(arguments: ["terminate", "turn-back"]) func aDrainThatTakesTooLongFollowsItsPolicy(
        stragglers: String
    ) throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.stuckWrites = 1
        world.start(Self.plan(stragglers: stragglers))
        world.settle()
        #expect(world.theRun.state == (stragglers == "terminate" ? .done : .rolledBack))
        try Transcript.compare(world, "drain-timeout-\(stragglers)")
    }

    @Test(
        arguments: [
            DatabaseTask.Kind.preflight, .expand, .raiseFence, .census, .migrate, .lowerFence,
            .contract,
        ])
    func aDatabaseTaskThatFailsOnceBringsEverythingBackOrIsTriedAgain(kind: DatabaseTask.Kind)
        throws
    {
        var world = ScenarioWorld()
        world.database.failing = [kind: 1]
        world.start(Self.plan())
        world.settle()
        let expected: RunState =
            switch kind {
            case .preflight: .refused
            case .lowerFence, .contract: .done
            default: .rolledBack
            }
        #expect(world.theRun.state == expected)
        try Transcript.compare(world, "database/\(kind.rawValue)-fails")
    }

    @Test func aRollbackThatFailsStopsReadOnlyAndCanBeTriedAgain() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.database.failing = [.revertMigrate: 5]
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .waiting)
        #expect(world.core.directives.values.allSatisfy { !$0.writes.isOpen })
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(world, "rollback-fails")
    }

    @Test(arguments: Phase.allCases) func aNodeLostInAnyPhaseEndsTheRunWithEverythingBackOrDone(
        phase: Phase
    ) throws {
        var world = ScenarioWorld()
        world.on(phase) { world in
            world.note("web-2 is lost")
            world.nodes[NodeName(unchecked: "web-2")]?.isLost = true
        }
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.isEnded)
        try Transcript.compare(world, "node-lost/in-\(phase)")
    }

    @Test(arguments: Phase.allCases) func aNodeLostWithinTheBudgetIsQuarantinedAndReadmitted(
        phase: Phase
    ) throws {
        var world = ScenarioWorld()
        world.on(phase) { world in world.nodes[NodeName(unchecked: "web-2")]?.isLost = true }
        world.start(Self.plan(budget: 1))
        world.settle()
        // Until the lift, every node has to say that it lets no write through, and that its old release is silent: no budget
        // makes up for that.
        let provesReadOnly = phase < .lift
        #expect(world.theRun.state == (provesReadOnly ? .rolledBack : .done))
        world.nodes[NodeName(unchecked: "web-2")]?.isLost = false
        world.note("web-2 is back")
        let status = world.nodes[NodeName(unchecked: "web-2")]!
        var back = status
        if let directive = world.core.directives[back.name] { back.take(directive) }
        world.nodes[back.name] = back
        var reporting = back
        world.put(.status(back.name, reporting.status()))
        world.settle()
        #expect(world.theRun.quarantined.isEmpty)
        #expect(world.core.directives[back.name]?.service == .in)
        try Transcript.compare(world, "node-lost-within-budget/in-\(phase)")
    }

    @Test(arguments: Phase.allCases) func aNodeThatJoinsInAnyPhaseIsUpgradedAsAnExtraBatch(
        phase: Phase
    ) throws {
        var world = ScenarioWorld()
        world.on(phase) { $0.join("web-9") }
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        #expect(world.theRun.quarantined.isEmpty)
        #expect(world.nodes[NodeName(unchecked: "web-9")]?.active.release == ScenarioWorld.new)
        try Transcript.compare(world, "node-joins/in-\(phase)")
    }

    @Test(arguments: Phase.allCases, [RequestVerb.abort, .rollback]) func aRunTurnsBackWhenAsked(
        phase: Phase, verb: RequestVerb
    ) throws {
        var world = ScenarioWorld()
        world.on(phase) { $0.request(verb) }
        world.start(Self.plan())
        world.settle()
        let expected: RunState =
            switch phase {
            case .preflight: .refused
            case .lift, .finish: .done
            default: .rolledBack
            }
        #expect(world.theRun.state == expected)
        try Transcript.compare(world, "\(verb.rawValue)/in-\(phase)")
    }

    @Test(arguments: Phase.allCases) func aPausedRunBeginsNothingUntilItIsResumed(phase: Phase)
        throws
    {
        var world = ScenarioWorld()
        world.on(phase) { $0.request(.pause) }
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .paused)
        #expect(world.theRun.phase == phase)
        world.request(.resume)
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "pause/in-\(phase)")
    }

    @Test(arguments: Phase.allCases.filter { $0 != .preflight }) func aPhaseWaitsForItsApproval(
        phase: Phase
    ) throws {
        var world = ScenarioWorld()
        world.start(Self.plan(approvals: "[\(phase)]"))
        world.settle()
        #expect(world.theRun.state == .awaitingApproval)
        world.request(.approve)
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "approve/in-\(phase)")
    }

    @Test(arguments: ["staged", "migrate", "upgraded"]) func aFailedStepThatPausesCanBeTriedAgain(
        step: String
    ) throws {
        var world = ScenarioWorld()
        let canary = NodeName(unchecked: "web-1")
        switch step {
        case "staged": world.nodes[canary]?.failingTask = "start-app"
        case "migrate": world.database.failing = [.migrate: 1]
        default: world.nodes[canary]?.failingTask = "reload"
        }
        world.start(Self.plan(onFailure: "pause"))
        world.settle()
        #expect(world.theRun.state == .waiting)
        world.nodes[canary]?.failingTask = nil
        world.note("put right")
        world.request(.retry)
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "retry/after-\(step)")
    }

    @Test(arguments: Phase.allCases) func aNewLeaderInAnyPhaseBringsTheRunToItsEnd(phase: Phase)
        throws
    {
        var world = ScenarioWorld()
        world.on(phase) { $0.restart() }
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "new-leader/in-\(phase)")
    }

    @Test(arguments: Phase.allCases) func aRepeatedLateOrStaleStatusChangesNothing(phase: Phase) {
        var world = ScenarioWorld()
        let name = NodeName(unchecked: "web-2")
        world.on(phase) { $0.nodes[name]?.isLost = true }
        world.start(Self.plan(budget: 0))
        // Everything up to the phase, and the status that the lost node sent last.
        world.settle(steps: 200, untilLost: name)
        guard let last = world.core.observations[name]?.status else { return }
        let before = world.journal
        var late = last
        late.sequence += 1
        late.revision -= 1
        var stale = late
        stale.sequence += 1
        stale.epoch = Epoch(rawValue: last.epoch.rawValue - 1)
        stale.revision += 5
        for status in [last, last, late, stale] { world.put(.status(name, status)) }
        #expect(world.journal == before)
    }

    @Test func preflightNamesEveryNodeThatServesAnotherReleaseAndSaysWhatToDo() throws {
        var world = ScenarioWorld(nodes: 12)
        for number in 2...12 {
            let name = NodeName(unchecked: "web-\(number)")
            world.nodes[name]?.active.release = ScenarioWorld.new
        }
        // As agents do all the time: each has said what it serves before there is a run.
        for name in world.nodes.keys.sorted() {
            guard let status = world.nodes[name]?.status() else { continue }
            world.put(.status(name, status))
        }
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .refused)
        let reason = try #require(world.theRun.reason)
        #expect(reason.contains("web-2: it serves v2, and the plan expects v1; web-3: it serves"))
        #expect(reason.hasSuffix("; and 3 more"))
        #expect(!reason.contains("web-1: "))
        let advice = try #require(world.theRun.advice)
        #expect(advice.hasSuffix(" to v1 first, or set release.expected to v2, which is served"))
        let report = try #require(RunReport(world.journal))
        #expect(report.troubles.count { $0.kind == .failed } == 11)
        #expect(report.advice == advice)
    }

    @Test func theReadsOfSessionsWaitFromBeforeTheFenceUntilTheGatesOpen() throws {
        var world = ScenarioWorld()
        world.start(Self.plan(reads: "serve", sessions: "cookie: sessionid"))
        world.settle()
        #expect(world.theRun.state == .done)
        try Transcript.compare(world, "sessions/straight-run")
    }

    @Test func theReadsOfSessionsWaitOnTheWayBackUntilTheFenceIsDown() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true
        world.start(Self.plan(reads: "serve", sessions: "cookie: sessionid"))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(world, "sessions/rollback")
    }

    @Test(
        arguments: [
            ("cookie: shop", "cookie:sessionid", "knows a session by cookie:sessionid"),
            ("header: Authorization", "cookie:sessionid", "knows a session by cookie:sessionid"),
            ("cookie: sessionid", nil, "has not said by what it knows a session"),
            ("cookie: shop, while_fenced: serve", "cookie:sessionid", nil),
            ("cookie: SessionID", "cookie:shop cookie:sessionid", nil),
            ("header: Authorization", "header:authorization", nil),
        ] as [(String, String?, String?)])
    func aNodeWhoseProxyKnowsSessionsByAnotherMarkIsFoundInPreflight(
        sessions: String, marks: String?, words: String?
    ) throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.sessionMarks = marks
        for name in ["web-1", "web-3"] where words == nil {
            world.nodes[NodeName(unchecked: name)]?.sessionMarks = marks
        }
        world.start(Self.plan(budget: 1, sessions: sessions))
        world.settle()
        #expect(world.theRun.state == (words == nil ? .done : .refused))
        if let words { #expect(try #require(world.theRun.reason).contains(words)) }
    }

    private let rewrite = "a write through the proxy was answered 200 without the gate being asked"

    @Test func aProxyThatPassesTheGateByIsFoundInPreflightAndNoBudgetMakesUpForIt() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.disproof = rewrite
        world.start(Self.plan(budget: 1))
        world.settle()
        #expect(world.theRun.state == .refused)
        #expect(try #require(world.theRun.reason).contains("web-2: " + rewrite))
        try Transcript.compare(world, "gate-passed-by/preflight")
    }

    @Test func aClosedGateThatIsPassedByTurnsTheRunBackBeforeTheFence() throws {
        var world = ScenarioWorld()
        world.nodes[NodeName(unchecked: "web-2")]?.disproof = rewrite
        world.nodes[NodeName(unchecked: "web-2")]?.isDisprovedWhenClosed = true
        world.start(Self.plan(budget: 1))
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        #expect(!world.theRun.begun.contains { $0.description.contains("fence") })
        #expect(try #require(world.theRun.reason).contains("web-2: " + rewrite))
        try Transcript.compare(world, "gate-passed-by/closing")
    }

    @Test func aMigrationThatHangsIsCancelledAtItsDeadlineAndUndone() throws {
        var world = ScenarioWorld()
        world.database.hanging = [.migrate]
        world.start(Self.plan())
        world.settle()
        #expect(world.theRun.state == .rolledBack)
        try Transcript.compare(world, "migration-hangs")
    }
}
