// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Every node serves the old release on the frozen standby, and no request is in the hands of the one on the primary any more.
///
/// So nobody meets the migration with code that does not know it. No budget makes up for a node: nothing has been migrated, and
/// turning back costs nothing.
struct ReadFromStandbyStep: StepDefinition {
    static let word = "nodes:standby-served"
    let phase: Phase

    init(_ phase: Phase, index: Int?) { self.phase = phase }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.frozenStandby == nil ? [] : [ReadFromStandbyStep(phase, index: nil)]
    }

    var title: String { "read from the standby" }
    let isProof = true

    func details(_ preview: StepPreview) -> [String] {
        if preview.plan.isDatabaseSwitched {
            return [
                "every node's action `switch` has taken the old release to the standby, and its `report` has said so, within "
                    + "\(preview.plan.deadline(of: .readOnly))"
            ]
        }
        return [
            "every node serves the old release on the standby, and nothing is in the hands of the one on the primary, within "
                + "\(preview.plan.deadline(of: .readOnly))",
            "when it does not answer: \(preview.plan.fateOfReaders); while nothing is migrated, the run turns back",
        ]
    }

    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard !seat.isQuarantined, let reader = run.reader(of: seat.node) else { return }
        run.askToRead(&directive, from: reader)
    }

    /// Until it is known who is served instead.
    func askUntilUndone(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard !seat.isQuarantined, let reader = run.reader(of: seat.node) else { return }
        run.askToStay(&directive, with: reader)
    }

    func judge(_ status: NodeStatus, of seat: Seat, in run: Run) -> Verdict {
        guard let reader = run.reader(of: seat.node) else {
            return .failed("nobody knows which release it served before the run")
        }
        if let failure = status.failure(of: .activate) { return .failed(failure) }
        let isActive =
            status.active?.release == reader && status.active?.identity == run.readingActivation
        let isHealthy =
            status.health?.identity == run.standbyHealth(of: reader).identity
            && status.health?.state == .healthy
        return .reached(if: isActive && isHealthy && status.hasVacated(reader.on(nil)))
    }

    /// Writers wait: a node either does it at once or is not there.
    func allowance(in run: Run) -> Span? { run.plan.deadline(of: .readOnly) }
}

extension Step {
    public static let standbyServed = ReadFromStandbyStep.step
}

extension NodeStatus {
    /// Whether no request is in the hands of a release that it does not serve any more.
    func hasVacated(_ release: ReleaseReference) -> Bool {
        vacated?.release == release && vacated?.isVacant == true
    }
}
