// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension Verdict {
    /// Whether all tasks are done, and what else is asked is so.
    static func on(
        _ tasks: [NodeTask], in status: NodeStatus, and isMore: Bool = true
    ) -> Verdict {
        var isDone = isMore
        for task in tasks {
            let outcome = status.tasks.first { $0.identity == task.identity }
            switch outcome?.state {
            case .done: continue
            case nil, .running: isDone = false
            case .failed: return .failed("\(task.name) failed: \(outcome?.output ?? "")")
            case .notStarted:
                return .failed("\(task.name) was not started: \(outcome?.output ?? "")")
            case .unknown:
                return .failed(
                    "\(task.name) was interrupted and its end is not known: \(outcome?.output ?? "")"
                )
            }
        }
        return .reached(if: isDone)
    }
}

extension NodeStatus {
    func failure(of goal: NodeFailure.Goal) -> String? {
        failures.first { $0.goal == goal }?.message
    }
}

extension Run {
    /// Whether a node serves the new release, with all that belongs to it done.
    func upgradeVerdict(
        _ status: NodeStatus, health: HealthGoal, tasks: [NodeTask]
    ) -> Verdict {
        if let failure = status.failure(of: .activate) { return .failed(failure) }
        let isActive =
            status.active?.release == created.release
            && status.active?.identity == forwardActivation
        let isHealthy =
            status.health?.identity == health.identity && status.health?.state == .healthy
        return Verdict.on(tasks, in: status, and: isActive && isHealthy)
    }

    func isReactivated(_ node: NodeName, _ status: NodeStatus) -> Bool {
        guard let old = releaseServedAgain(on: node) else { return true }
        return status.active?.release == old && status.active?.identity == backActivation
    }

    /// Whether what it serves again has answered.
    func isAnswering(_ node: NodeName, _ status: NodeStatus) -> Bool {
        guard let old = releaseServedAgain(on: node) else { return true }
        return status.health?.identity == backHealth(of: old).identity
            && status.health?.state == .healthy
    }

    /// Whether a quarantined node may take part again: it serves what the run says, and it answers.
    func meetsRunTarget(_ node: NodeName, _ status: NodeStatus) -> Bool {
        if direction == .back {
            guard isEnded, let old = releaseServedAgain(on: node) else { return false }
            return status.active?.release == old
                && (!begunBack.contains(.reactivated)
                    || isReactivated(node, status) && isAnswering(node, status))
        }
        guard begun.contains(.upgraded(batch: 0)) else { return false }
        // What has to start first has to have started there as well.
        let started = begun.contains(.started) ? startTasks : []
        let sites =
            closingTasks + (hasBegun(OpenSitesStep.self) ? openingTasks : [])
        let tasks = started + extraTasks + undoneAtFence(on: node) + sites
        return upgradeVerdict(status, health: extraHealth, tasks: tasks) == .reached
    }
}
