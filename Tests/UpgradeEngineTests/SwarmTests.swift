// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeEngine
import UpgradeModel

/// What a run costs grows with the fleet, and not with its square.
@Suite struct SwarmTests {
    static func plan(_ batches: String) -> String {
        ScenarioTests.plan(batches: batches)
    }

    @Test(arguments: ["[1]", "[\"100%\"]"])
    func aNodeIsToldNoMoreInALargeFleetThanInASmallOne(batches: String) {
        func directives(_ count: Int) -> Int {
            var swarm = Swarm(count)
            swarm.run(Self.plan(batches))
            #expect(swarm.state == .done)
            return swarm.cost.directives
        }
        let (small, large) = (directives(20), directives(200))
        #expect(large == 10 * small)
    }

    /// `SLUICE_SWARM=1000,9900 swift test -c release --filter SwarmTests` prints what a run costs.
    @Test func costsArePrintedWhenAskedFor() {
        let sizes = ProcessInfo.processInfo.environment["SLUICE_SWARM"] ?? ""
        for count in sizes.split(separator: ",").compactMap({ Int($0) }) {
            for batches in ["[\"100%\"]", "[1]"] {
                var swarm = Swarm(count)
                swarm.run(Self.plan(batches))
                #expect(swarm.state == .done)
                let cost = swarm.cost
                print(
                    "swarm \(count) nodes, batches \(batches): \(cost.turns) turns, \(cost.events) events, "
                        + "\(cost.directives) directives; core \(cost.core / count) a node, published "
                        + "\(cost.published / count) a node, core in the window \(cost.window)")
            }
        }
    }
}
