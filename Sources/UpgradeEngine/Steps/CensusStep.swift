// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Proves that no writer is left.
struct CensusStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.census
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    var title: String { "prove that no writer is left" }
    func atOnce(in plan: Plan) -> Int { Databases.atOnce }

    func audience(in run: Run) -> Audience {
        asksTheLast(in: run) && run.isBracedEarly ? .everyMember : .nobody
    }

    /// Where it will wait for nobody, the nodes are braced meanwhile: the step that proves it finds it so. Otherwise readers are served
    /// for as long as it takes.
    func ask(_ directive: inout Directive, of seat: Seat, in run: Run) {
        guard asksTheLast(in: run), run.isBracedEarly else { return }
        BraceStep(.migrate, index: nil).ask(&directive, of: seat, in: run)
    }

    /// Whether no census is left to be begun once those that are asked for together have been, so that the migration is next.
    private func asksTheLast(in run: Run) -> Bool {
        (index ?? 0) + atOnce(in: run.plan) >= run.plan.databases.count
    }

    /// The task ends its own stragglers when the drain's budget is spent, and waits for a standby as long as that may be behind; this is
    /// the last resort behind it.
    func allowanceOfTask(in run: Run) -> Span {
        let lag = run.plan.frozenStandby.map { $0.lag + .seconds(10) } ?? .zero
        return run.plan.drain.timeout + lag + .seconds(20)
    }

    func details(_ preview: StepPreview) -> [String] {
        preview.plan.frozenStandby == nil
            ? [] : ["the standby has all that was ever written"]
    }
}

extension Run {
    /// Readers are held for what is about to happen, and not while a person is waited for.
    fileprivate var isBracedEarly: Bool {
        plan.databases.allSatisfy { database.older[plan.label(of: $0)] == 0 }
            && standing == .active && plan.goesOnAtOnce(from: .drain, to: .migrate)
    }
}
