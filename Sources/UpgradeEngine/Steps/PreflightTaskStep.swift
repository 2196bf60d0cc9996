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

    /// *Rolled back* is said of a schema that was compared. Undoing the expand migrations compares it as well.
    func undo(_ undoing: Undoing) -> [any StepDefinition] {
        let isCompared = undoing.begun.contains(Step(ExpandStep.word, index))
        guard undoing.schemas.contains(database(in: undoing.plan)), !isCompared,
            undoing.begun.contains(where: \.touches)
        else { return [] }
        return [CompareSchemaStep(.stage, index: index)]
    }
}
