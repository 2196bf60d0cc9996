// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What a status says about a step.
enum Verdict: Hashable {
    case notYet
    case reached
    case failed(String)
}

extension Run {
    /// Whether a node is what a step asks for, by a status observed under the node's present directive.
    func verdict(on node: NodeName, _ status: NodeStatus, for step: Step) -> Verdict {
        switch step {
        case .database(.migrate): verdict(on: node, status, for: .braced)
        case .approval, .database, .bake: .notYet
        case .hook(let index): verdict(onTasks: [hookTask(index)], in: status)
        case .nodes(let goal): verdict(on: node, status, for: goal)
        }
    }

    private func verdict(on node: NodeName, _ status: NodeStatus, for goal: NodeGoal) -> Verdict {
        switch goal {
        case .present:
            return verdictOnPresence(status)
        case .staged:
            if let failure = status.failure(of: .stage) { return .failed(failure) }
            let isStaged = status.staged.contains(created.release)
            return verdict(onTasks: warmTasks, in: status).and(isStaged)
        case .closed:
            return closedVerdict(status).and(true)
        case .drained:
            return closedVerdict(status).and(status.gate.writesInFlight == 0)
        case .braced:
            return closedVerdict(status).and(status.lease == .keep && isHoldingReads(status))
        case .upgraded(let batch):
            return members[node]?.isUpgradedExtra == true
                ? upgradeVerdict(status, health: extraHealth, tasks: extraTasks)
                : upgradeVerdict(status, health: upgradeHealth(batch), tasks: upgradeTasks(batch))
        case .verified:
            return upgradeVerdict(status, health: verifyHealth, tasks: [])
        case .opened:
            if let failure = status.failure(of: .gate) { return .failed(failure) }
            return Verdict.reached.and(status.gate.writes == .open && !status.gate.readsHeld)
        case .retired:
            if let failure = status.failure(of: .prune) { return .failed(failure) }
            return verdict(onTasks: retireTasks(of: node), in: status)
        case .readsHeld:
            return Verdict.reached.and(isHoldingReads(status))
        case .reactivated:
            if let failure = status.failure(of: .activate) { return .failed(failure) }
            return Verdict.reached.and(isReactivated(node, status))
        case .unstaged:
            if let failure = status.failure(of: .unstage) { return .failed(failure) }
            let isGone = releaseToRemove.map { !status.staged.contains($0) } ?? true
            return verdict(onTasks: unstageTasks, in: status).and(isGone)
        }
    }

    /// Whether a quarantined node may take part again: it serves what the run says, healthy.
    func isSettled(_ node: NodeName, _ status: NodeStatus) -> Bool {
        if direction == .back {
            guard isEnded, let old = oldRelease(of: node) else { return false }
            return status.active?.release == old
                && (!begunBack.contains(.nodes(.reactivated)) || isReactivated(node, status))
        }
        guard begun.contains(.nodes(.upgraded(batch: 0))) else { return false }
        return upgradeVerdict(status, health: extraHealth, tasks: extraTasks) == .reached
    }

    /// Whether a quarantined node lets nothing through, and goes on so without the coordinator once it was told to.
    func isShut(_ status: NodeStatus) -> Bool {
        let mustKeep = [Step.nodes(.braced), .database(.migrate)].contains { $0 == current?.step }
        let isKept = !mustKeep || status.lease == .keep
        return status.breakGlass == nil && status.gate.writes != .open && isKept
    }

    private func verdictOnPresence(_ status: NodeStatus) -> Verdict {
        if let reason = status.breakGlass {
            return .failed(
                "its gate was opened by hand (\(reason)); end that with `sluice-agent break-glass end`"
            )
        }
        if let expected = plan.release.expected, status.active?.release.name != expected {
            return .failed(Drift.reason(found: status.active?.release.name, expected: expected))
        }
        return Verdict.reached.and(status.gate.writes == .open)
    }

    /// Whether no request that reads is in an application's hands, where the plan asks for that.
    private func isHoldingReads(_ status: NodeStatus) -> Bool {
        readHold == nil || (status.gate.readsHeld && status.gate.readsSettled)
    }

    private func closedVerdict(_ status: NodeStatus) -> Verdict {
        if let reason = status.breakGlass {
            return .failed("its gate was opened by hand: \(reason)")
        }
        if let failure = status.failure(of: .gate) { return .failed(failure) }
        return Verdict.reached.and(status.gate.writes != .open)
    }

    private func upgradeVerdict(_ status: NodeStatus, health: HealthGoal, tasks: [NodeTask])
        -> Verdict
    {
        if let failure = status.failure(of: .activate) { return .failed(failure) }
        let isActive =
            status.active?.release == created.release
            && status.active?.identity == forwardActivation
        let isHealthy =
            status.health?.identity == health.identity && status.health?.state == .healthy
        return verdict(onTasks: tasks, in: status).and(isActive && isHealthy)
    }

    private func isReactivated(_ node: NodeName, _ status: NodeStatus) -> Bool {
        guard let old = oldRelease(of: node) else { return true }
        return status.active?.release == old && status.active?.identity == backActivation
    }

    private func verdict(onTasks tasks: [NodeTask], in status: NodeStatus) -> Verdict {
        var verdict = Verdict.reached
        for task in tasks {
            let outcome = status.tasks.first { $0.identity == task.identity }
            switch outcome?.state {
            case .done: continue
            case nil, .running: verdict = verdict.and(false)
            case .failed: return .failed("\(task.name) failed: \(outcome?.output ?? "")")
            case .notStarted:
                return .failed("\(task.name) was not started: \(outcome?.output ?? "")")
            case .unknown:
                return .failed(
                    "\(task.name) was interrupted and its end is not known: \(outcome?.output ?? "")"
                )
            }
        }
        return verdict
    }
}

extension Verdict {
    /// A failure stays one; anything else is reached only when the condition holds too.
    func and(_ condition: Bool) -> Verdict {
        self == .reached && !condition ? .notYet : self
    }
}

extension NodeStatus {
    func failure(of goal: NodeFailure.Goal) -> String? {
        failures.first { $0.goal == goal }?.message
    }
}
