// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Pages that people have open say that saving will pause, and when; the gates stay open meanwhile.
struct AnnounceStep: NodelessStep {
    static let word = "announce"
    static let touches = false
    static let asksWhileCurrent = true
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.writes.announce > .zero ? [AnnounceStep(phase, index: nil)] : []
    }

    var title: String { "announce the window to the pages that are open" }
    func details(_ preview: StepPreview) -> [String] {
        ["for \(preview.plan.writes.announce), with the gates open"]
    }

    var audience: Audience { .everyMember }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard let current = run.current, current.step == step else { return }
        directive.announced = current.beganAt + run.plan.writes.announce
    }

    func allowance(in run: Run) -> Span? { nil }
    func wait(in run: Run) -> Span? { run.plan.writes.announce }
}

extension Step {
    public static let announced = AnnounceStep.step
}
