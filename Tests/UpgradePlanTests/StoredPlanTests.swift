// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@testable import UpgradePlan

/// Plans as runs have stored them, each with every value that was read from it then.
///
/// `SLUICE_REGENERATE=1 swift test --filter StoredPlan` writes the values anew: lines may be added for new keys, none may change.
@Suite struct StoredPlanTests {
    static let folder = Files.fixtures.appending(path: "Stored")

    @Test(arguments: ["reference", "minimal", "refuse"])
    func meansWhatItMeant(_ name: String) throws {
        let text = try String(
            contentsOf: StoredPlanTests.folder.appending(path: "\(name).yaml"), encoding: .utf8)
        let plan = try #require(PlanDocument.stored(text: text, file: name))
        var values = ""
        dump(plan, to: &values)
        let golden = StoredPlanTests.folder.appending(path: "\(name).txt")
        if ProcessInfo.processInfo.environment["SLUICE_REGENERATE"] == "1" {
            try values.write(to: golden, atomically: true, encoding: .utf8)
        }
        #expect(values == (try? String(contentsOf: golden, encoding: .utf8)))
    }

    @Test(arguments: [
        minimal(rollout: "failure_budget: 3"),
        minimal(more: "hooks: [{before: lift, run: announce, node: web-9}]"),
        minimal(more: "# password=hunter2hunter2"),
    ])
    func isNotHeldToRulesForPlansThatAreHandedIn(_ text: String) {
        let handedIn = PlanDocument.parse(text: text, file: "p")
        #expect(handedIn.plan == nil)
        #expect(handedIn.diagnostics.contains { $0.severity == .error })
        #expect(PlanDocument.stored(text: text, file: "p") != nil)
    }

    @Test(arguments: ["", "fleet: web", "fleet: [", "a: &b c"])
    func thatGivesNoPlanIsNone(_ text: String) {
        #expect(PlanDocument.stored(text: text, file: "p") == nil)
    }
}
