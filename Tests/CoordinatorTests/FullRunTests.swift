// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import Releases
import RunStore
import StoreTestSupport
import Testing
import UpgradeEngine
import UpgradeModel

@Suite struct FullRunTests {
    @Test
    func takesAFleetThroughEveryPhaseToTheNewRelease() async throws {
        let world = try await World()
        let (view, journal, nodes) = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            let view = try await coordinator.waitForEnd(of: run)
            return (view, try await coordinator.journal(of: run), try await coordinator.nodes())
        }
        #expect(view.summary.state == .done)
        #expect(view.version == Int64(journal.entries.count))
        #expect(view.summary.endedAt == journal.entries.last?.at)
        #expect(journal.entries.map(\.version) == Array(1...view.version))
        #expect(
            world.worker.kinds == [
                .preflight, .expand, .raiseFence, .census, .migrate, .lowerFence, .contract,
            ])
        #expect(world.worker.tasks.allSatisfy { $0.epoch == Epoch(rawValue: 1) && $0.attempt == 1 })
        #expect(nodes.map(\.name) == nodeNames)
        #expect(nodes.allSatisfy { $0.status?.active?.release == world.manifest.reference })
        #expect(try await world.store.claims().isEmpty)
        #expect(view.windowOpened != nil && view.windowClosed != nil)
    }

    @Test
    func goesBackWhenTheMigrationFailsAndSaysSo() async throws {
        let world = try await World()
        world.worker.fail(.migrate)
        let (view, nodes) = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            return (try await coordinator.waitForEnd(of: run), try await coordinator.nodes())
        }
        #expect(view.summary.state == .rolledBack)
        #expect(view.reason?.contains("relation does not exist") == true)
        #expect(world.worker.kinds.last == .revertExpand)
        #expect(world.worker.kinds.contains(.lowerFence))
        #expect(nodes.allSatisfy { $0.status?.active?.release == world.oldRelease })
        #expect(nodes.allSatisfy { $0.status?.gate.writes == .open })
    }

    @Test
    func letsTheDatabasesSessionGoWhenTheRunHasEnded() async throws {
        let world = try await World()
        try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            _ = try await coordinator.waitForEnd(of: run)
        }
        #expect(world.worker.isClosed)
    }

    @Test
    func givesUpOnANodeThatDoesNotAnswerWhenItsTimeIsOver() async throws {
        let world = try await World()
        let plan = World.plan(more: "deadlines: {preflight: 1s}")
        let view = try await world.withCoordinator(agents: Array(nodeNames.prefix(2))) {
            coordinator in
            let run = try await coordinator.start(world.startRequest(plan: plan), by: ada).summary
                .run
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .refused)
        #expect(view.reason?.contains("web3") == true)
    }

    @Test
    func waitsForAnApprovalAndGoesOnWithIt() async throws {
        let world = try await World()
        let plan = World.plan(more: "approvals: [read-only]")
        let view = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(plan: plan), by: ada).summary
                .run
            let waiting = try await coordinator.wait(for: run) {
                $0.summary.state == .awaitingApproval
            }
            #expect(waiting.advice?.contains("sluice approve") == true)
            #expect(waiting.nodes.allSatisfy { $0.status?.gate.writes == .open })
            let request = RunRequest(request: "r1", verb: .approve)
            _ = try await coordinator.request(request, of: run, by: ada)
            return try await coordinator.waitForEnd(of: run)
        }
        #expect(view.summary.state == .done)
    }

    @Test
    func tellsOneWhoWatchesEveryEventOnceInOrder() async throws {
        let world = try await World()
        let (versions, last) = try await world.withCoordinator { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            var versions: [Int64] = []
            for await _ in coordinator.changes(of: run) {
                let news = try await coordinator.news(of: run, after: versions.last ?? 0)
                versions += news.entries.map(\.version)
                if news.view.summary.state.isEnded { return (versions, news.view.version) }
            }
            return (versions, 0)
        }
        #expect(versions == Array(1...max(1, last)))
    }

    @Test
    func listsEndedRunsAfterASecondOneOfTheSameFleet() async throws {
        let world = try await World()
        try await world.withCoordinator { coordinator in
            let first = try await coordinator.start(world.startRequest("one"), by: ada).summary.run
            _ = try await coordinator.waitForEnd(of: first)
            // The nodes are on v2 now, and the plan expects v1: the second run is refused by preflight.
            let second = try await coordinator.start(world.startRequest("two"), by: ada).summary.run
            let refused = try await coordinator.waitForEnd(of: second)
            for node in nodeNames {
                #expect(refused.reason?.contains("\(node): it serves v2") == true)
            }
            #expect(
                refused.advice?.hasSuffix("set release.expected to v2, which is served") == true)
            let summaries = try await coordinator.summaries()
            #expect(summaries.map(\.run) == [second, first])
            #expect(summaries.map(\.state) == [.refused, .done])
            #expect(try await coordinator.view(of: first).summary.state == .done)
            await #expect(throws: APIError(Refusal.ended(.done))) {
                try await coordinator.request(
                    RunRequest(request: "r", verb: .pause), of: first, by: ada)
            }
        }
    }
}
