// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@testable import UpgradeEngine

/// Reports of runs that the engine itself has made, and of a journal with known times.
@Suite struct RunReportTests {
    private func world(
        _ plan: String = ScenarioTests.plan(), _ prepare: (inout ScenarioWorld) -> Void = { _ in }
    ) -> ScenarioWorld {
        var world = ScenarioWorld()
        prepare(&world)
        world.start(plan)
        world.settle()
        return world
    }

    @Test func aStraightRunHasEveryPhaseAndEveryNode() throws {
        let world = world()
        let report = try #require(RunReport(world.journal))
        #expect(report.state == .done)
        #expect(report.phases.map(\.phase) == Phase.allCases)
        #expect(report.nodes.map(\.name.rawValue) == ["web-1", "web-2", "web-3"])
        #expect(report.nodes.map(\.batch) == [1, 2, 3])
        #expect(report.nodes.allSatisfy { $0.before?.rawValue == "v1" && $0.quarantine == nil })
        #expect(report.steps.allSatisfy { $0.ended != nil })
        #expect(report.troubles.isEmpty)
        #expect(report.endedAt == world.journal.last?.at)
        #expect(report.windowOpened != nil && report.windowClosed != nil)
    }

    @Test func whatEachGateHeldAndWhatWouldHaveStoodInTheWayIsKept() throws {
        let world = world { world in
            world.nodes[NodeName(unchecked: "web-2")]?.limits = ProxyLimits(
                workers: 1, connections: 768, shares: [])
            world.nodes[NodeName(unchecked: "web-2")]?.room = HoldingRoom(
                requests: 704, openFiles: 1024, queues: [.init(place: "/run/a", length: 5)],
                longestQueue: 4096)
        }
        let report = try #require(RunReport(world.journal))
        #expect(report.nodes.allSatisfy { $0.gate?.writesHeld == 12 && $0.gate?.readsHeld == 3 })
        #expect(report.nodes.map { $0.warnings?.count } == [nil, 3, nil])
        // Writes and reads of the plan, each in two connections.
        #expect(report.nodes[1].warnings?.first?.contains("2000 held requests take 4000") == true)
    }

    @Test func howManyConnectionsEndedWithTheOldReleaseIsKept() throws {
        let world = world { $0.nodes[NodeName(unchecked: "web-2")]?.cut = 3 }
        let report = try #require(RunReport(world.journal))
        #expect(report.state == .done)
        #expect(report.nodes.map(\.cut) == [nil, 3, nil])
    }

    /// The plan holds 1000 writes for 15 s, and 1000 reads.
    @Test func whatAnotherProxyWouldDoToHeldRequestsIsKept() throws {
        let world = world { world in
            world.nodes[NodeName(unchecked: "web-2")]?.bounds = [
                ProxyBound(name: "global maxconn", position: "/etc/h:2", requests: 2000),
                ProxyBound(name: "the server's timeout write", position: "/etc/c:4", span: .zero),
                ProxyBound(
                    name: "the server's timeout write", position: "/etc/c:5", span: .minutes(60)),
            ]
        }
        let report = try #require(RunReport(world.journal))
        let warnings = try #require(report.nodes[1].warnings)
        #expect(warnings.count == 2)
        #expect(warnings[0].hasPrefix("global maxconn is 2000 (/etc/h:2), and 2000 held requests"))
        #expect(warnings[1].hasPrefix("the server's timeout write is 0s (/etc/c:4)"))
    }

    @Test func aNodeWhoseWayToTheGateIsNotKnownIsNamed() throws {
        let world = world { world in
            world.nodes[NodeName(unchecked: "web-2")]?.unknownWay = "no write has come"
        }
        let report = try #require(RunReport(world.journal))
        #expect(report.state == .done)
        #expect(
            report.nodes.map(\.warnings) == [
                nil,
                ["whether writes through its proxy meet the gate is not known: no write has come"],
                nil,
            ])
    }

    @Test func aStateIsAlwaysTheRunsOwn() throws {
        let world = world(ScenarioTests.plan(approvals: "[lift]")) { world in
            world.nodes[NodeName(unchecked: "web-2")]?.isUnhealthy = true
        }
        for count in 1...world.journal.count {
            let events = Array(world.journal.prefix(count))
            let run = try #require(CoordinatorCore.fold(events))
            let report = try #require(RunReport(events))
            #expect(report.state == run.state)
            #expect(
                report.windowOpened == run.windowOpened && report.windowClosed == run.windowClosed)
            #expect(
                report.steps.count
                    == events.count { if case .stepBegan = $0.event { true } else { false } })
        }
    }

    @Test func aRunThatTurnedBackSaysWhyAndWhatWasUndone() throws {
        let world = world { $0.nodes[NodeName(unchecked: "web-1")]?.isUnhealthy = true }
        let report = try #require(RunReport(world.journal))
        #expect(report.state == .rolledBack)
        #expect(report.reason?.contains("web-1") == true)
        #expect(report.phases.contains { $0.direction == .back && $0.phase == .migrate })
        #expect(report.troubles.contains { $0.kind == .failed && $0.node?.rawValue == "web-1" })
        #expect(report.troubles.contains { $0.kind == .turnedBack })
        #expect(report.reversion != nil)
        // What was turned away from was not completed.
        #expect(report.steps.last { $0.direction == .forward }?.ended == nil)
        #expect(report.steps.filter { $0.direction == .back }.allSatisfy { $0.ended != nil })
    }

    @Test func aTakeoverIsTold() throws {
        let world = world { world in
            world.on(.migrate) { $0.restart() }
        }
        let report = try #require(RunReport(world.journal))
        #expect(report.state == .done)
        #expect(report.troubles.contains { $0.kind == .takeover && $0.message.contains("epoch 2") })
    }

    @Test func aNodeThatJoinedIsInTheReport() throws {
        let world = world { world in
            world.on(.stage) { $0.join("web-9") }
        }
        let report = try #require(RunReport(world.journal))
        let joined = try #require(report.nodes.first { $0.name.rawValue == "web-9" })
        #expect(joined.batch == nil)
        #expect(joined.milestones.first?.kind == .joined)
    }

    @Test func requestsAreToldWithTheirPhase() throws {
        let world = world { world in
            world.on(.stage) {
                $0.request(.pause); $0.request(.resume)
            }
        }
        let report = try #require(RunReport(world.journal))
        #expect(report.requests.map(\.verb) == [.pause, .resume])
        #expect(report.requests.allSatisfy { $0.phase == .stage && $0.by.rawValue == "alice" })
    }

    @Test func theWindowIsFromTheFirstWordToCloseToTheLastGateOpen() throws {
        var journal = TimedJournal()
        journal.begin(.readOnly, .closed, at: 1000)
        journal.reach(at: 1050)
        journal.task(.migrate, .migrate, at: 1100, took: 700)
        journal.begin(.lift, .opened, at: 1850)
        journal.reach(at: 1900)
        journal.begin(.finish, .retired, at: 9000)
        let report = try #require(RunReport(journal.events))
        #expect(report.window == .milliseconds(900))
        #expect(report.migration == .milliseconds(700))
        #expect(report.windowMinusMigration == .milliseconds(200))
        // It ended with the last gate, not with the next step.
        #expect(
            report.steps.first { $0.step == .opened }?.ended == Instant(milliseconds: 1900))
        #expect(report.steps.last?.ended == nil)
    }

    @Test func aWindowThatIsStillOpenHasNoLength() throws {
        var journal = TimedJournal()
        journal.begin(.readOnly, .closed, at: 1000)
        let report = try #require(RunReport(journal.events))
        #expect(report.windowOpened == Instant(milliseconds: 1000))
        #expect(
            report.window == nil && report.windowMinusMigration == nil && report.migration == nil)
    }

    @Test func aFailedAttemptDoesNotCountAsMigration() throws {
        var journal = TimedJournal()
        journal.begin(.readOnly, .closed, at: 1000)
        journal.begin(.migrate, .database(.migrate), at: 1100)
        journal.add(.databaseTaskStarted(DatabaseTaskFact(kind: .migrate, attempt: 1)), at: 1100)
        journal.add(
            .databaseTaskEnded(
                DatabaseTaskEnded(
                    kind: .migrate, attempt: 1, result: .failed,
                    failure: DatabaseFailure(code: "sql", "no such column"))),
            at: 1200)
        let report = try #require(RunReport(journal.events))
        #expect(report.migration == nil)
        #expect(report.database.first?.failure?.message == "no such column")
        let message = "database: migrate the schema failed: no such column"
        #expect(report.troubles.first?.message == message)
    }

    @Test func aJournalWithoutABeginningHasNoReport() {
        let event = RunEvent.stepBegan(
            StepBegan(direction: .forward, index: 0, phase: .preflight, step: .present))
        #expect(
            RunReport([RecordedEvent(at: Instant(milliseconds: 1), epoch: .zero, event: event)])
                == nil)
        #expect(RunReport([RecordedEvent]()) == nil)
    }

    @Test func aReportOfAPlanThatIsNotUnderstoodTellsTheFacts() throws {
        var journal = TimedJournal(plan: "from: a newer program")
        journal.begin(.readOnly, .closed, at: 1000)
        journal.reach(at: 1050)
        let report = try #require(RunReport(journal.events))
        #expect(report.nodes.first?.milestones.count == 1)
        #expect(report.nodes.first?.batch == nil)
    }

    @Test func aReportComesBackFromItsJSON() throws {
        let report = try #require(RunReport(world().journal))
        let data = try JSONEncoder().encode(report)
        #expect(try JSONDecoder().decode(RunReport.self, from: data) == report)
    }
}

/// A journal of one node with chosen times.
private struct TimedJournal {
    private(set) var events: [RecordedEvent]
    private let node = NodeName(unchecked: "web-1")

    init(
        plan: String =
            "fleet: f\nnodes: {names: [web-1]}\nrelease: {name: v2, bundle: b}\nrollout: {health: {check: c}}\n"
    ) {
        events = [
            RecordedEvent(
                at: Instant(milliseconds: 0), epoch: Epoch(rawValue: 1),
                event: .created(
                    RunCreated(
                        run: RunIdentifier(unchecked: "r1"), fleet: FleetName(unchecked: "f"),
                        plan: plan,
                        planFile: "p.yaml", digest: ScenarioWorld.new.manifest,
                        release: ScenarioWorld.new,
                        migrations: [], nodes: [node], by: OperatorName(unchecked: "alice"),
                        request: "q0")))
        ]
    }

    mutating func add(_ event: RunEvent, at milliseconds: Int64) {
        events.append(
            RecordedEvent(
                at: Instant(milliseconds: milliseconds), epoch: Epoch(rawValue: 1), event: event))
    }

    mutating func begin(_ phase: Phase, _ step: Step, at milliseconds: Int64) {
        add(
            .stepBegan(
                StepBegan(direction: .forward, index: events.count, phase: phase, step: step)),
            at: milliseconds)
    }

    mutating func reach(at milliseconds: Int64) {
        add(.nodeReached(NodeFact(node: node)), at: milliseconds)
    }

    mutating func task(
        _ phase: Phase, _ kind: DatabaseTask.Kind, at milliseconds: Int64, took span: Int64
    ) {
        begin(phase, .database(kind), at: milliseconds)
        add(.databaseTaskStarted(DatabaseTaskFact(kind: kind, attempt: 1)), at: milliseconds)
        add(
            .databaseTaskEnded(
                DatabaseTaskEnded(
                    kind: kind, attempt: 1, result: .done,
                    report: DatabaseReport(duration: .milliseconds(span)))),
            at: milliseconds + span)
    }
}
