// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The sites of what is left out are closed on every node that serves, before the new release is: it does not know their schemas.
///
/// A node that is quarantined serves nobody. It closes them before it is upgraded.
struct CloseSitesStep: StepDefinition {
    static let word = "nodes:sites-closed"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.failedDatabasesAtMost == 0 ? [] : [CloseSitesStep(phase, index: nil)]
    }

    var title: String { "close the sites that are left out" }
    let isProof = true

    func details(_ preview: StepPreview) -> [String] {
        let actions = Set(preview.plan.databases.compactMap { $0.leaveOut?.close }).sorted()
        return Listed.line("only where a database is left out: the actions", actions)
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.tasks += run.closingTasks
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.on(run.closingTasks, in: status)
    }
}
