// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The reads of those who have a session wait until the fence is down again, forward or back: frameworks write sessions on page views,
/// and the fence refuses that.
///
/// It begins when writes have been drained and ends with the gates' opening, which is the step behind each lowering of the fence. It
/// is courtesy, as the gate is: no proof, since what gets past it writes nothing.
struct HoldSessionsStep: StepDefinition {
    static let word = "nodes:sessions-held"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.databases.isEmpty || plan.sessions?.hold == nil
            ? [] : [HoldSessionsStep(phase, index: nil)]
    }

    var title: String { "hold the reads of sessions" }

    func details(_ preview: StepPreview) -> [String] {
        guard let sessions = preview.plan.sessions, let hold = sessions.hold else { return [] }
        return [
            "reads with the \(sessions.mark.phrase) are held for \(hold.span) at most, \(hold.atMost) a node, while the "
                + "database is fenced"
        ]
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        directive.sessions = run.sessionHold
    }

    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        ask(&directive, of: seat, in: run)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let failure = status.failure(of: .gate) { return .failed(failure) }
        let gate = status.gate
        return .reached(if: gate.sessionsHeld == true && gate.sessionsSettled == true)
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }

    /// Why a node's proxy would hold others than those whom the plan means; `nil` when it does not.
    static func refusal(_ status: NodeStatus, in run: Run) -> String? {
        guard run.sessionHold != nil, let mark = run.plan.sessions?.mark else { return nil }
        guard status.gate.sessionsHeld != nil else {
            return
                "its agent (\(status.agentVersion)) cannot hold the reads of sessions; install the sluice-agent of the coordinator's version"
        }
        guard let marks = status.gate.sessionMarks, !marks.isEmpty else {
            return
                "the plan holds reads with the \(mark.phrase), and the node's proxy has not said by what it knows a session: install the present snippets (agents/nginx), and name a URL under gate.probe in agent.yaml"
        }
        let known = marks.split(separator: " ").map { $0.lowercased() }
        guard !known.contains(mark.text.lowercased()) else { return nil }
        return
            "the plan holds reads with the \(mark.phrase), and the node's proxy knows a session by \(marks): name the same in sluice-http.conf and in the plan's reads.sessions"
    }
}

extension Step {
    public static let sessionsHeld = HoldSessionsStep.step
}
