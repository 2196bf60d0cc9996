// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

/// How the release comes to the nodes.
extension PlanChecks {
    private var selectedCount: Int? { values.list("nodes.names")?.count }

    mutating func checkRollout() {
        guard case .nodes(let most)? = values.size("rollout.max_unavailable") else {
            return
        }
        if let canary = values.count("rollout.canary"), canary > most {
            findings.warning(
                "cut", at: values.position(of: "rollout.canary"),
                "a canary of \(canary) is cut to `max_unavailable`, \(most)",
                advice: "lower one or raise the other")
        }
        for case .nodes(let size) in values.sizes("rollout.batches") ?? [] where size > most {
            findings.warning(
                "cut", at: values.position(of: "rollout.batches"),
                "a batch of \(size) is cut to `max_unavailable`, \(most)",
                advice: "lower one or raise the other")
        }
    }

    mutating func checkStart() {
        guard let start = values.text("rollout.start").flatMap(Plan.Start.init(rawValue:))
        else { return }
        guard start == .afterMigration else {
            // The old release is asked for them on the standby.
            if readsFromStandby, !isByActions { return }
            warnOfNoEffect(
                ["rollout.start_checks"],
                because: "the release starts in stage, where only its old schema is there")
            return
        }
        let position = values.position(of: "rollout.start")
        if !values.hasDatabase {
            findings.warning(
                "no-effect", at: position,
                "`rollout.start` has no effect: the plan has no database, and so no migration",
                advice: "remove it, or add `database`")
        }
        guard values.list("rollout.warm")?.isEmpty == true else { return }
        findings.error(
            "start", at: position, "nothing starts the new release after the migration",
            advice: "name the actions that start it under `rollout.warm`, or remove `rollout.start`"
        )
    }

    mutating func checkFailureBudget() {
        guard let budget = values.count("rollout.failure_budget"), budget > 0 else { return }
        let position = values.position(of: "rollout.failure_budget")
        if let count = selectedCount, count > 0, budget >= count {
            findings.errorUnlessStored(
                "failure-budget", at: position,
                "with \(count) selected, every node may fail and the run still go on",
                advice: "write less than \(count)")
        }
        if case .nodes(let most)? = values.size("rollout.max_unavailable"), budget > most {
            findings.warning(
                "failure-budget", at: position,
                "failed nodes are out of service as well, and \(budget) are more than"
                    + " `max_unavailable`, \(most)",
                advice: "lower `failure_budget` or raise `max_unavailable`")
        }
    }
}
