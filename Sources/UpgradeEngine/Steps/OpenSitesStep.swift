// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The sites that were closed because their databases were left out are opened: after the lift those of databases that an earlier run
/// has left out and this one has migrated, on the way back those that this run has closed.
struct OpenSitesStep: StepDefinition {
    static let word = "nodes:sites-opened"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.databases.contains { $0.leaveOut != nil } ? [OpenSitesStep(phase, index: nil)] : []
    }

    var title: String { "open the sites that were left out" }

    func details(_ preview: StepPreview) -> [String] {
        let actions = Set(preview.plan.databases.compactMap { $0.leaveOut?.open }).sorted()
        return Listed.line(
            "only where an earlier run has left a database out: the actions", actions)
    }

    /// After the lift everybody else is served, and nothing is lost by asking a person.
    func quarantines(in run: Run) -> Bool { run.direction == .back }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.tasks += run.openingTasks
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        Verdict.on(run.openingTasks, in: status)
    }
}
