// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// On the way back: the old release is served, and answers.
///
/// It was frozen, or has been started anew by the node's own way to switch versions, or may have died meanwhile: reads that are held
/// wait until it answers, and the fence goes down for the writes that wait only then.
struct ReactivateStep: StepDefinition {
    static let word = "nodes:reactivated"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "reactivate the old release" }

    func details(_ preview: StepPreview) -> [String] {
        preview.plan.frozenStandby == nil
            ? []
            : [
                "on the standby where the schema may be another than before, otherwise on the primary"
            ]
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let old = run.releaseServedAgain(on: seat.node) else { return }
        if run.isPromoting {
            directive.stage = old
            // Whoever has read there only flips; whoever was not there, or does not answer, starts on it now.
            if !run.hasReadFromStandby(seat) || run.attempt(at: step) > 1 {
                directive.tasks += run.readerTasks(of: seat.node)
            }
            // It ends with the first primary: what is frozen of it does not go on first.
            directive.replaced = run.isDatabaseSwitched ? nil : run.releaseToSilence(on: seat.node)
        }
        directive.active = ActivationGoal(release: old, identity: run.backActivation)
        if let hold = run.readHold ?? run.switchHold {
            directive.reads = ReadAdmission(hold: hold, until: run.backActivation)
        }
        // While a person is asked, whoever has flipped serves its readers as well as it can: release and schema fit.
        directive.health = run.isStoppedHere(step) ? nil : run.backHealth(of: old)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        if let failure = status.failure(of: .activate) { return .failed(failure) }
        let served = run.releaseServedAgain(on: seat.node)
        let silenced = status.silenced.flatMap {
            run.isPromoting && $0.release != served && !run.isDatabaseSwitched ? nil : $0
        }
        if let failure = silenced?.failure { return .failed(failure) }
        // What was silenced goes on before it serves again.
        let isThawed = silenced.map { $0.state == .idle } ?? true
        return .reached(
            if: isThawed && run.isReactivated(seat.node, status)
                && run.isAnswering(seat.node, status))
    }

    /// The gates are closed, and a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }
}

extension Step {
    public static let reactivated = ReactivateStep.step
}

extension Run {
    fileprivate func isStoppedHere(_ step: Step) -> Bool {
        guard case .stopped = standing else { return false }
        return current?.step == step
    }
}
