// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import RunStore
import StoreTestSupport
import Testing
import UpgradeModel

@Suite struct PollTests {
    private let web1 = nodeNames[0]

    @Test
    func isAnsweredAtOnceWithADirectiveThatIsNewerThanTheNodeS() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let query = DirectiveQuery(epoch: .zero, revision: 0, wait: .zero)
            let directive = try #require(try await coordinator.directive(for: web1, query))
            #expect(directive.epoch == coordinator.epoch)
            #expect(directive.writes.isOpen)
        }
    }

    @Test
    func isAnsweredWithNothingWhenItsWaitIsOver() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let query = DirectiveQuery(
                epoch: coordinator.epoch, revision: 1000, wait: .milliseconds(20))
            let told = try await coordinator.directive(for: web1, query)
            #expect(told == nil)
        }
    }

    @Test
    func ofAnEpochThatThisLeaderDoesNotHaveIsNeverAnsweredWithAnOlderDirective() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let query = DirectiveQuery(
                epoch: coordinator.epoch.next, revision: 0, wait: .milliseconds(20))
            let told = try await coordinator.directive(for: web1, query)
            #expect(told == nil)
        }
    }

    @Test
    func thatANewerOneOfTheSameNodeHasReplacedIsAnsweredWithNothing() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let query = DirectiveQuery(epoch: coordinator.epoch, revision: 1000, wait: .seconds(30))
            // Each of five polls waits for half a minute; only two may, so three end at once.
            let ended = try await withThrowingTaskGroup(of: Directive?.self) { group in
                for _ in 0..<5 {
                    group.addTask { try await coordinator.directive(for: web1, query) }
                }
                var ended = 0
                for _ in 0..<3 where try await group.next() != nil { ended += 1 }
                group.cancelAll()
                return ended
            }
            #expect(ended == 3)
        }
    }

    @Test
    func waitsUntilWhatChangedTheDirectiveIsStored() async throws {
        var world = try await World()
        let journal = GatedJournal(world.store)
        world.journal = journal
        let gated = world
        try await gated.withCoordinator(agents: []) { coordinator in
            let latest = try #require(
                try await coordinator.directive(
                    for: web1, DirectiveQuery(epoch: .zero, revision: 0, wait: .zero)))
            journal.close()
            async let started = coordinator.start(gated.startRequest(), by: ada)
            await journal.waitForAppend()
            // The core has decided, the store has not: nobody is told.
            let query = DirectiveQuery(
                epoch: latest.epoch, revision: latest.revision, wait: .milliseconds(50))
            #expect(try await coordinator.directive(for: web1, query) == nil)
            #expect(try await coordinator.nodes().allSatisfy { $0.run == nil })
            journal.open()
            let run = try await started.summary.run
            let told = try #require(try await coordinator.directive(for: web1, query))
            #expect(told.run == run)
        }
    }

    @Test
    func ofANodeThatGotItsTokenLaterIsAnsweredOfAnUnknownOneIsRefused() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let query = DirectiveQuery(epoch: .zero, revision: 0, wait: .zero)
            let late = NodeName(unchecked: "web9")
            await #expect(throws: APIError.self) {
                try await coordinator.directive(for: late, query)
            }
            try await world.addNode(late)
            #expect(try await coordinator.directive(for: late, query) != nil)
        }
    }

    @Test
    func isToldThatTheCoordinatorHasEnded() async throws {
        var world = try await World()
        world.journal = FailingJournal(world.store, afterAppends: 0, .io("disk"))
        let failing = world
        let coordinator = try await failing.lead()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await #expect(throws: CoordinatorFault.self) { try await coordinator.run() }
            }
            group.addTask {
                let query = DirectiveQuery(
                    epoch: coordinator.epoch, revision: 99, wait: .seconds(30))
                await #expect(throws: APIError.self) {
                    try await coordinator.directive(for: web1, query)
                }
            }
            group.addTask {
                await #expect(throws: APIError.self) {
                    try await coordinator.start(failing.startRequest(), by: ada)
                }
            }
        }
        #expect(await coordinator.health.ok == false)
    }
}
