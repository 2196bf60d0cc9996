// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the database says what is to be undone of the migration tool. Without a `revert_with` the run waits there.
protocol SettlingStep: DatabaseStep, EachToolStep {
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
        guard let tool = tool(in: preview.plan), tool.revert == nil else { return [] }
        return ["if it has changed anything, the run waits here, \(Self.meanwhile)"]
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard tool(in: run.plan)?.revert == nil, let change = left(of: Self.moment, in: run)
        else { return [] }
        let reason =
            "\(Self.reason)\(run.plan.suffix(ofTool: index)), and the plan names no `revert_with`: \(change.sentence)"
        return [.stopped(Stopped(reason: reason, advice: advice(in: run)))]
    }
}

/// On the way back, after what undoes has run: the database says what is still other than before. While something is, the run
/// waits.
protocol RevertedStep: DatabaseStep, EachToolStep {
    /// When the tool ran.
    static var moment: MigrationPhase { get }
    /// The word of the step at which the same is looked at before anything is undone.
    static var settling: String { get }
    /// What is not undone.
    static var work: String { get }
    func advice(in run: Run) -> String
}

extension RevertedStep {
    /// Compares again, and undoes again what is left.
    func stepToRetry(in run: Run) -> Step {
        run.current?.isDatabaseDone == true ? Step(Self.settling, index) : step
    }

    func followUp(in run: Run) -> [RunEvent] {
        guard let change = left(of: Self.moment, in: run) else { return [] }
        let reason =
            "\(Self.work)\(run.plan.suffix(ofTool: index)) is not undone: \(change.sentence); \(run.toolTrouble(index))"
        return [.stopped(Stopped(reason: reason, advice: advice(in: run)))]
    }
}

extension EachToolStep {
    /// What is other than before the tool ran, unless a person has said that it may stay so.
    fileprivate func left(of moment: MigrationPhase, in run: Run) -> ToolChange? {
        guard let change = run.tool(index)[moment].change, !change.isNone, !run.isSchemaAccepted
        else { return nil }
        return change
    }

    /// What leads on where the old release is served on what the tool has done before the window.
    func waysOutOfExpansion(in run: Run) -> String {
        let first =
            tool(in: run.plan)?.revert.map { action in
                "put right what failed, or put the database back by hand; then `sluice retry \(run.identifier)` compares it with before, "
                    + "and runs \(action) once more where something is left"
            }
            ?? "put the database back as it was, then `sluice retry \(run.identifier)`, which compares it with before"
        return "the old release is served; \(first); "
            + "or leave it as it is: `sluice resolve \(run.identifier) --accept-schema --reason TEXT`"
            + run.forwardAgain
    }
}
