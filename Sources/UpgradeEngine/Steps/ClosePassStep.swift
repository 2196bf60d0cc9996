// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The tool's sessions are let through no longer, and the database says what the tool has done.
///
/// Done: the tool ended well. Nothing: it did not, and nothing is other than before. Partly: it did not, and something is.
struct ClosePassStep: DatabaseStep {
    static let kind = DatabaseTask.Kind.closePass
    /// So often the tool is run in all, where the plan says `again`.
    static let mostRuns = 3
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.tool == nil ? [] : [ClosePassStep(phase, index: nil)]
    }

    var title: String { "look at what the migration tool has done" }

    /// Once it is known what the tool has done, a person may have it run again, with a pass of its own. Before that nobody does.
    func stepToRetry(in run: Run) -> Step { run.isToolJudged ? .openPass : step }

    func followUp(in run: Run) -> [RunEvent] {
        run.toolVerdict(.switch, again: .openPass, partly: run.partlyAdvice)
    }
}

extension Run {
    /// Whether the database has said that the last run of the tool has not done all of its work.
    var isToolJudged: Bool {
        current.map { $0.isDatabaseDone && !$0.definition.followUp(in: self).isEmpty } ?? false
    }

    /// What follows from how the tool has ended and what the database says of it; nothing where it is done.
    ///
    /// - Parameters:
    ///   - step: where it is run again.
    ///   - advice: what leads on where a person is asked because a part is done.
    func toolVerdict(
        _ part: MigrationPhase, again step: Step, partly advice: String
    ) -> [RunEvent] {
        guard let wanted = plan.tool, let current, let change = tool[part].change,
            tool.ended?.state != .done
        else { return [] }
        let outcome = change.isNone ? "has done nothing" : "has done a part of its work"
        let reason =
            "the migration tool \(outcome)\(moment(of: part)): \(toolTrouble) (\(change.sentence))"
        if change.isNone || isPastPointOfNoReturn && wanted.onPartly == .back {
            return setback(reason, waysOut: isPastPointOfNoReturn ? advice : nil)
        }
        switch wanted.onPartly {
        case .again where tool[part].runs < ClosePassStep.mostRuns:
            return begins(step, or: current)
        case .again, .person: return [.stopped(Stopped(reason: reason, advice: advice))]
        case .back: return setback(reason)
        }
    }

    /// When a part of the tool's work is done, for people; nothing where all of it is done in the window.
    private func moment(of part: MigrationPhase) -> String {
        switch part {
        case .expand: " before the window"
        case .contract: " after the lift"
        case .switch:
            plan.tool?.expand == nil && plan.tool?.contract == nil
                ? "" : " in the window"
        }
    }

    /// What leads on where a part of the tool's work is done.
    var partlyAdvice: String {
        let back =
            plan.frozenStandby.map { _ in "makes the standby the primary" }
            ?? plan.tool?.revert.map { "undoes the run, with the action \($0)" }
            ?? "waits until the database has been put back by hand"
        return
            "`sluice retry \(identifier)` runs the tool again, which has to go on where it was; `sluice rollback \(identifier)` \(back)"
    }
}
