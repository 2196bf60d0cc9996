// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says what is to be undone of the migration tool. Without a `revert_with` the run waits there.
protocol SettlingStep: DatabaseStep {
    /// When the tool ran.
    static var moment: MigrationPhase { get }
    /// What stays as it is while the run waits.
    static var meanwhile: String { get }
    /// The beginning of why it waits.
    static var reason: String { get }
    func advice(in run: Run) -> String
}

extension SettlingStep {
    func details(_ preview: StepPreview) -> [String] {
        guard let tool = preview.plan.tool, tool.revert == nil else { return [] }
        return ["if it has changed anything, the run waits here, \(Self.meanwhile)"]
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard run.plan.tool?.revert == nil, let change = run.toolLeft(Self.moment)
        else { return [] }
        let reason = "\(Self.reason), and the plan names no `revert_with`: \(change.sentence)"
        return [.stopped(Stopped(reason: reason, advice: advice(in: run)))]
    }
}

/// On the way back, after what undoes has run: the database says what is still other than before. While something is, the run
/// waits.
protocol RevertedStep: DatabaseStep {
    /// When the tool ran.
    static var moment: MigrationPhase { get }
    /// Where the same is looked at before anything is undone.
    static var settling: Step { get }
    /// What is not undone.
    static var work: String { get }
    func advice(in run: Run) -> String
}

extension RevertedStep {
    /// Compares again, and undoes again what is left.
    func stepToRetry(in run: Run) -> Step {
        run.current?.isDatabaseDone == true ? Self.settling : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard let change = run.toolLeft(Self.moment) else { return [] }
        let reason = "\(Self.work) is not undone: \(change.sentence); \(run.toolTrouble)"
        return [.stopped(Stopped(reason: reason, advice: advice(in: run)))]
    }
}

extension Run {
    /// What is other than before the tool ran, unless a person has said that it may stay so.
    fileprivate func toolLeft(_ moment: MigrationPhase) -> ToolChange? {
        guard let change = tool[moment].change, !change.isNone, !isSchemaAccepted else {
            return nil
        }
        return change
    }

    /// What leads on where the old release is served on what the tool has done before the window.
    var waysOutOfExpansion: String {
        let first =
            plan.tool?.revert.map { action in
                "put right what failed, or put the database back by hand; then `sluice retry \(identifier)` compares it with before, "
                    + "and runs \(action) once more where something is left"
            }
            ?? "put the database back as it was, then `sluice retry \(identifier)`, which compares it with before"
        return "the old release is served; \(first); "
            + "or leave it as it is: `sluice resolve \(identifier) --accept-schema --reason TEXT`"
            + forwardAgain
    }
}
