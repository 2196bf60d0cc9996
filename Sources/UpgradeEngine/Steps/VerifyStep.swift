// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Healthy on the new release, asked anew.
struct VerifyStep: StepDefinition {
    static let word = "nodes:verified"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    var title: String { "verify every node" }
    func details(_ preview: StepPreview) -> [String] { [preview.health] }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        if !seat.isQuarantined { directive.health = run.verifyHealth }
        // The next proof is asked for already, so that it costs no round of its own with writes closed.
        directive.silenced = run.releaseToSilence(on: seat.node)
        directive.replaced = nil
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        run.upgradeVerdict(status, health: run.verifyHealth, tasks: [])
    }
}

extension Step {
    public static let verified = VerifyStep.step
}
