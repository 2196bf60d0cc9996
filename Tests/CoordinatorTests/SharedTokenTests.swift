// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import RunStore
import Testing
import UpgradeModel

@testable import Coordinator

@Suite struct SharedTokenTests {
    private func at(_ seconds: Int64) -> Instant { Instant(milliseconds: seconds * 1000) }

    @Test
    func isNoticedWhenTwoAgentsBootsComeInTurn() {
        var shared = SharedToken()
        var news = 0
        for number in 1...6 {
            if shared.note("a", Int64(number), at: at(Int64(number))) { news += 1 }
            if shared.note("b", Int64(number), at: at(Int64(number))) { news += 1 }
        }
        #expect(shared.isShared(at: at(10)))
        #expect(news == 1)
        #expect(!shared.isShared(at: at(10 + 600)))
    }

    @Test
    func isNotWhatAnAgentThatStartsAgainLooksLikeNorALateMessageOfTheOneBefore() {
        var shared = SharedToken()
        for boot in ["a", "b", "c", "d"] {
            for number in 1...3 { _ = shared.note(boot, Int64(number), at: at(1)) }
        }
        _ = shared.note("c", 4, at: at(2))
        _ = shared.note("d", 4, at: at(3))
        // A message of before that is sent again says nothing.
        _ = shared.note("c", 4, at: at(4))
        _ = shared.note("d", 5, at: at(5))
        #expect(!shared.isShared(at: at(6)))
    }

    @Test
    func isSaidOfTheNodeByItsNameAndInItsRunWithWhatToDo() async throws {
        let world = try await World()
        try await world.withCoordinator(agents: []) { coordinator in
            let run = try await coordinator.start(world.startRequest(), by: ada).summary.run
            var one = FakeAgent(nodeNames[0], serves: world.oldRelease)
            var other = FakeAgent(nodeNames[0], serves: world.oldRelease)
            for _ in 0..<3 {
                _ = try await coordinator.report(one.status(), from: nodeNames[0])
                _ = try await coordinator.report(other.status(), from: nodeNames[0])
            }
            let nodes = try await coordinator.nodes()
            let warning = try #require(nodes.first { $0.name == nodeNames[0] }?.warning)
            #expect(warning.contains("sluice token create --node \(nodeNames[0]) --replace"))
            #expect(nodes.filter { $0.warning != nil }.count == 1)
            let view = try await coordinator.view(of: run)
            #expect(view.nodes.first { $0.name == nodeNames[0] }?.warning == warning)
        }
    }
}
