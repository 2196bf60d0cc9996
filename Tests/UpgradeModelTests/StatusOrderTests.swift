// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct StatusOrderTests {
    private func status(_ boot: String, _ sequence: Int64, started: Int64?) -> NodeStatus {
        NodeStatus(
            epoch: .zero, revision: 0, boot: boot, sequence: sequence, agentVersion: "1",
            gate: GateObservation(), lease: .open, staged: [], staging: nil, active: nil,
            service: .in, tasks: [], health: nil, failures: [], diskFree: 0,
            startedAt: started.map(Instant.init(milliseconds:)))
    }

    @Test func withinABootTheSequenceDecides() {
        #expect(status("a", 2, started: 5).isLater(than: status("a", 1, started: 5)))
        #expect(!status("a", 2, started: 5).isLater(than: status("a", 2, started: 5)))
        #expect(!status("a", 1, started: 5).isLater(than: status("a", 2, started: 5)))
    }

    @Test func aLateStatusOfAnEarlierAgentIsNoNews() {
        #expect(!status("a", 900, started: 5).isLater(than: status("b", 1, started: 6)))
        #expect(status("b", 1, started: 6).isLater(than: status("a", 900, started: 5)))
    }

    @Test func anAgentThatDoesNotSayWhenItStartedIsBelieved() {
        #expect(status("a", 1, started: nil).isLater(than: status("b", 9, started: 6)))
        #expect(status("a", 1, started: 6).isLater(than: status("b", 9, started: nil)))
    }
}
