// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Foundation
import Testing
import UpgradeModel

@Suite struct FleetTotalsTests {
    private func row(
        _ number: Int, reached: Bool?, quarantined: Bool = false, held: Int = 1
    ) -> NodeRow {
        let status = NodeStatus(
            epoch: Epoch(rawValue: 1), revision: 2, boot: "b", sequence: 3, agentVersion: "1",
            gate: GateObservation(writes: .hold, writesWaiting: held), lease: .open, staged: [],
            staging: nil, active: nil, service: .in, tasks: [], health: nil, failures: [],
            diskFree: 0)
        return NodeRow(
            name: NodeName(unchecked: "n-\(number)"),
            standing: quarantined ? .quarantined : .member, reached: reached, batch: 1,
            reason: nil, lastSeen: nil, status: status)
    }

    private func view(_ nodes: [NodeRow]) -> RunView {
        RunView(
            summary: RunSummary(
                run: RunIdentifier(unchecked: "r"), fleet: FleetName(unchecked: "f"),
                release: ReleaseName(unchecked: "v2"), createdAt: Instant(milliseconds: 0),
                state: .running, phase: .rollout, startedBy: OperatorName(unchecked: "ada")),
            version: 7, now: Instant(milliseconds: 0), step: "s", reason: nil, advice: nil,
            batch: 1, batches: 1, windowOpened: nil, windowClosed: nil, database: nil,
            nodes: nodes)
    }

    @Test func aShortenedViewHasTheNodesThatNeedLookingAtAndTheTotalsOfAll() {
        let all = view(
            (1...50).map { row($0, reached: true) } + [row(51, reached: false)]
                + [row(52, reached: nil, quarantined: true)])
        let short = all.shortened(to: 3)
        #expect(short.nodes.map(\.name.rawValue) == ["n-52", "n-51", "n-1"])
        #expect(short.allNodes == all.allNodes)
        #expect(short.allNodes.nodes == 52 && short.allNodes.quarantined == 1)
        #expect(short.allNodes.named == 51 && short.allNodes.reached == 50)
        #expect(short.allNodes.writesWaiting == 52)
        #expect(all.shortened(to: 0).nodes.isEmpty && all.shortened(to: -1).nodes.isEmpty)
        #expect(all.shortened(to: 100).nodes == all.nodes)
    }

    @Test func totalsOfAnyCountsStayAtTheEndOfTheRange() {
        let nodes = [row(1, reached: true, held: .max), row(2, reached: true, held: .max)]
        #expect(FleetTotals(of: nodes).writesWaiting == .max)
    }

    /// What a coordinator of before says.
    @Test func aViewWithoutTotalsIsRead() throws {
        let whole = view([row(1, reached: true)])
        let data = try JSONEncoder().encode(whole)
        #expect(!String(decoding: data, as: UTF8.self).contains("totals"))
        #expect(try JSONDecoder().decode(RunView.self, from: data) == whole)
    }
}
