// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Looks over the database for everything that would make a later task fail.
struct PreflightTaskStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.preflight
    static let touches = false
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "look over the database" }

    func followUp(in run: Run) -> [RunEvent] {
        let refused = refusalToTakeOver(in: run)
        if !refused.isEmpty { return refused }
        guard let label = database(in: run.plan), let place = run.database.places[label],
            let other = run.database.places.first(where: { $0.key != label && $0.value == place })
        else { return [] }
        let name = other.key?.rawValue ?? DatabaseName.default.rawValue
        return run.setback(
            "the URLs of \(name) and \(label) lead to the same database",
            advice:
                "correct the one that is wrong, in the coordinator's environment, or remove one of them from the plan"
        )
    }

    /// Whoever takes a fence over that was left up opens the site that was closed.
    private func refusalToTakeOver(in run: Run) -> [RunEvent] {
        let label = database(in: run.plan)
        guard let other = run.database.leftOutBy[label],
            let wanted = run.plan.database(labeled: label), wanted.leaveOut == nil
        else { return [] }
        return run.setback(
            "run \(other) has left \(wanted.name) out and closed its site, and the plan does not say how it is opened",
            advice: "name the actions for it: `leave_out_with: {close: …, open: …}`")
    }

    /// *Rolled back* is said of a schema that was compared. Undoing the expand migrations compares it as well.
    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        let isCompared = undoing.begun.contains(Step(ExpandStep.word, index))
        guard undoing.schemas.contains(database(in: undoing.plan)), !isCompared,
            undoing.begun.contains(where: \.touches)
        else { return [] }
        return [CompareSchemaStep(.stage, index: index)]
    }
}
