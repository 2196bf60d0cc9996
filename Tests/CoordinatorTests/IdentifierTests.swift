// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Coordinator
import RunStore
import StoreTestSupport
import Testing
import UpgradeModel

@Suite struct IdentifierTests {
    private let bob = OperatorName(unchecked: "bob")

    @Test
    func ofAnOldStartStartsNothingWhenItIsSentAgainBeforeAndAfterARestart() async throws {
        let world = try await World()
        let first = try await world.withCoordinator { coordinator in
            let first = try await start("A", world, coordinator)
            _ = try await start("B", world, coordinator)
            await refused("which has ended") {
                try await coordinator.start(world.startRequest("A"), by: ada)
            }
            return first
        }
        try await world.withCoordinator { coordinator in
            await refused("run \(first)") {
                try await coordinator.start(world.startRequest("A"), by: ada)
            }
            let again = try await coordinator.start(world.startRequest("B"), by: ada)
            #expect(again.summary.state.isEnded)
        }
        #expect(try await world.store.runs(limit: 9).count == 2)
    }

    @Test
    func belongsToWhoeverUsedItAndToWhatWasStartedWithIt() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            _ = try await coordinator.start(world.startRequest("A"), by: ada)
            await refused("by ada") {
                try await coordinator.start(world.startRequest("A"), by: bob)
            }
            await refused("another plan") {
                var other = world.startRequest("A")
                other.plan += "\n# another\n"
                return try await coordinator.start(other, by: ada)
            }
        }
    }

    @Test
    func isForOneVerbOfOneRunAgainItChangesNothingForAnythingElseItIsRefused() async throws {
        let world = try await World()
        let run = try await world.withCoordinator(agents: []) { coordinator in
            let run = try await coordinator.start(world.startRequest("A"), by: ada).summary.run
            let pause = RunRequest(request: "P", verb: .pause)
            let paused = try await coordinator.request(pause, of: run, by: ada)
            let again = try await coordinator.request(pause, of: run, by: ada)
            #expect(again.version == paused.version)
            try await refuseOthers(coordinator, run)
            return run
        }
        // The next leader knows as much.
        try await world.withCoordinator(agents: []) { try await refuseOthers($0, run) }
    }

    private func refuseOthers(_ coordinator: RunCoordinator, _ run: RunIdentifier) async throws {
        await refused("to pause run") {
            try await coordinator.request(
                RunRequest(request: "P", verb: .abort), of: run, by: ada)
        }
        await refused("by ada") {
            try await coordinator.request(
                RunRequest(request: "P", verb: .pause), of: run, by: bob)
        }
        await refused("to start run") {
            try await coordinator.request(
                RunRequest(request: "A", verb: .abort), of: run, by: ada)
        }
        let view = try await coordinator.view(of: run)
        #expect(view.summary.state == .paused)
    }

    @Test
    func andTheReasonAreShort() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let run = try await coordinator.start(world.startRequest("A"), by: ada).summary.run
            let long = RunRequest(
                request: "P", verb: .pause, reason: String(repeating: "x", count: 1025))
            await #expect(throws: APIError.self) {
                try await coordinator.request(long, of: run, by: ada)
            }
        }
    }

    private func start(
        _ request: String, _ world: World, _ coordinator: RunCoordinator
    ) async throws -> RunIdentifier {
        let run = try await coordinator.start(world.startRequest(request), by: ada).summary.run
        return try await coordinator.waitForEnd(of: run).summary.run
    }

    private func refused(_ words: String, _ work: () async throws -> some Any) async {
        do {
            _ = try await work()
            Issue.record("nothing was refused")
        } catch let error as APIError {
            #expect(error.code == "request-used")
            #expect("\(error)".contains(words))
        } catch {
            Issue.record("\(error)")
        }
    }
}
