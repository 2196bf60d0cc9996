// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// A step of the application's own migration tool: one for each database that has one.
protocol EachToolStep: StepDefinition {
    /// Which of the plan's databases, counted from 0; `nil` where one alone has a tool.
    var index: Int? { get }
    /// Whether a tool has this step.
    static func isPart(of tool: Plan.Tool) -> Bool
}

extension EachToolStep {
    static var isOfEachDatabase: Bool { true }
    static func isPart(of tool: Plan.Tool) -> Bool { true }
    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.toolIndices.filter { plan.tool($0).map(isPart) ?? false }
            .map { Self(phase, index: $0) }
    }
    var step: Step { Step(Self.word, index) }

    func database(in plan: Plan) -> DatabaseName? { plan.toolLabel(index) }
    func tool(in plan: Plan) -> Plan.Tool? { plan.tool(index) }
    func title(in plan: Plan) -> String { title + plan.suffix(ofTool: index) }

    /// The title with the action that is run.
    func title(in plan: Plan, running action: ActionName?) -> String {
        title + (action.map { ": the action \($0)" } ?? "") + plan.suffix(ofTool: index)
    }

    /// Whether no later database's tool has begun the same.
    func isLast(of undoing: Undoing) -> Bool {
        !undoing.begun.contains { $0.word == Self.word && ($0.index ?? 0) > (index ?? 0) }
    }
}

extension EachToolStep {
    /// What follows from how the tool has ended and what the database says of it; nothing where it is done.
    ///
    /// - Parameters:
    ///   - kind: the step from which it is run again.
    ///   - advice: what leads on where a person is asked because a part is done.
    func verdict(
        on part: MigrationPhase, again kind: any StepDefinition.Type, partly advice: String,
        in run: Run
    ) -> [RunEvent] {
        let progress = run.tool(index)
        guard let wanted = tool(in: run.plan), let current = run.current,
            let change = progress[part].change, progress.ended?.state != .done
        else { return [] }
        let name = run.plan.name(ofTool: index)
        let outcome = change.isNone ? "has done nothing" : "has done a part of its work"
        let reason =
            "\(name) \(outcome)\(moment(of: part, wanted)): \(run.toolTrouble(index)) (\(change.sentence))"
        if change.isNone, part == .switch, let left = leavingOut(reason, in: run) { return left }
        if change.isNone || run.isPastPointOfNoReturn && wanted.onPartly == .back {
            return run.setback(reason, waysOut: run.isPastPointOfNoReturn ? advice : nil)
        }
        switch wanted.onPartly {
        case .again where progress[part].runs < ClosePassStep.mostRuns:
            return run.begins(Step(kind.word, index), or: current)
        case .again, .person:
            // A tool that goes on where it was does so in a later run as well.
            if wanted.onPartly == .again, part == .switch,
                let left = leavingOut(reason, in: run)
            {
                return left
            }
            return [.stopped(Stopped(reason: reason, advice: advice))]
        case .back: return run.setback(reason)
        }
    }

    private func leavingOut(_ reason: String, in run: Run) -> [RunEvent]? {
        run.leavingOut(database(in: run.plan), .migrate, because: reason)
    }

    /// When a part of the tool's work is done, for people; nothing where all of it is done in the window.
    private func moment(of part: MigrationPhase, _ tool: Plan.Tool) -> String {
        switch part {
        case .expand: " before the window"
        case .contract: " after the lift"
        case .switch: tool.expand == nil && tool.contract == nil ? "" : " in the window"
        }
    }

    /// What leads on where a part of the tool's work is done.
    func partlyAdvice(in run: Run) -> String {
        if run.isWayBackLost { return run.adviceWithoutWayBack }
        let back =
            run.plan.frozenStandby.map { _ in "makes the standby the primary" }
            ?? tool(in: run.plan)?.revert.map { "undoes the run, with the action \($0)" }
            ?? "waits until the database has been put back by hand"
        return
            "`sluice retry \(run.identifier)` runs the tool again, which has to go on where it was; `sluice rollback \(run.identifier)` \(back)"
    }
}

extension Run {
    /// Whether the database has said that the last run of the tool has not done all of its work.
    var isToolJudged: Bool {
        current.map { $0.isDatabaseDone && !$0.definition.followUp(in: self).isEmpty } ?? false
    }
}
