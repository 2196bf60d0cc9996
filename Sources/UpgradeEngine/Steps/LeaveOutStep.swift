// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// The migration of a database has failed, and the run goes on without it: the database says that its fence is up, and keeps it for a
/// later run. Passed over where nothing has failed.
struct LeaveOutStep: EachDatabaseStep {
    static let kind = DatabaseTask.Kind.leaveOut
    let phase: Phase
    let index: Int?

    init(_ phase: Phase, index: Int?) {
        self.phase = phase
        self.index = index
    }

    static func steps(in phase: Phase, of plan: Plan, batches: Int) -> [any StepDefinition] {
        plan.failedDatabasesAtMost == 0
            ? [] : plan.databases.indices.map { Self(phase, index: $0) }
    }

    var title: String { "leave it out" }

    func details(_ preview: StepPreview) -> [String] {
        let most = preview.plan.failedDatabasesAtMost
        let count = preview.plan.databases.count
        return [
            "only where its migration has failed, \(most) of \(count) databases at most: its fence stays up, and this run does not lower it"
        ]
    }
}
