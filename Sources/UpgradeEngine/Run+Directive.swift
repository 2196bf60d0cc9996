// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel
import UpgradePlan

extension Run {
    /// What a node should be, now. Epoch and revision are the caller's.
    ///
    /// - Returns: `nil` for a node that is not of this run.
    public func directive(for node: NodeName) -> Directive? {
        guard let member = members[node] else { return nil }
        var directive = Directive(
            epoch: .zero, revision: 0, run: identifier,
            lease: Lease(duration: plan.lease, onExpiry: expiry(of: member)))
        if isEnded {
            end(&directive, node, member)
        } else if direction == .back {
            goBack(&directive, node, member)
        } else if member.quarantine != nil {
            quarantine(&directive, member)
        } else {
            goForward(&directive, node, member)
        }
        return directive
    }

    /// What a closed node does when it has not heard the coordinator for as long as its lease.
    ///
    /// It opens, until the fence is to go up: from then on what it would let through fails in the database, one by one and as
    /// badly as the application takes it, and once the schema may have changed it must not get there at all. Nobody waits for
    /// the word before the fence, and everybody before the migration. A node that is not what the run says stays closed by
    /// itself after the run too.
    private func expiry(of member: Member) -> Lease.Expiry {
        guard isClosed || member.quarantine != nil else { return .open }
        let isKept = [Step.database(.raiseFence), .nodes(.braced)].contains(where: begun.contains)
        return isKept ? .keep : .open
    }

    /// Whether the gates are to be closed now.
    private var isClosed: Bool {
        guard begun.contains(.nodes(.closed)), !begun.contains(.nodes(.opened)) else {
            return false
        }
        return !isEnded && !begunBack.contains(.nodes(.opened))
    }

    // MARK: Forward

    private func goForward(_ directive: inout Directive, _ node: NodeName, _ member: Member) {
        if isClosed {
            directive.writes = admission
            if begun.contains(.nodes(.braced)), let hold = readHold {
                directive.reads = ReadAdmission(hold: hold, until: forwardActivation)
            }
        }
        if begun.contains(.nodes(.staged)) { directive.stage = created.release }
        let batch = member.batch ?? 0
        let isExtra = member.batch == nil || member.isUpgradedExtra
        let isUpgrading = member.isUpgradedExtra || begun.contains(.nodes(.upgraded(batch: batch)))
        if begun.contains(.nodes(.staged)), !begun.contains(.nodes(.opened)) {
            directive.tasks += warmTasks
        }
        if isUpgrading {
            directive.active = ActivationGoal(release: created.release, identity: forwardActivation)
            directive.tasks += isExtra ? extraTasks : upgradeTasks(batch)
            directive.health = isExtra ? extraHealth : upgradeHealth(batch)
        }
        if begun.contains(.nodes(.verified)) { directive.health = verifyHealth }
        if begun.contains(.nodes(.opened)) { directive.health = nil }
        if begun.contains(.nodes(.retired)) {
            directive.tasks = retireTasks(of: node)
            directive.keepReleases = plan.keepReleases
        }
        if case .hook(let index)? = current?.step, current?.targets.contains(node) == true {
            directive.tasks.append(hookTask(index))
        }
    }

    /// Kept out of service and read-only, and upgraded like the others as soon as the schema is there.
    private func quarantine(_ directive: inout Directive, _ member: Member) {
        shut(&directive)
        if begun.contains(.nodes(.braced)), let hold = readHold {
            directive.reads = ReadAdmission(hold: hold, until: forwardActivation)
        }
        if begun.contains(.nodes(.staged)) {
            directive.stage = created.release
            directive.tasks += warmTasks
        }
        if begun.contains(.nodes(.upgraded(batch: 0))) {
            directive.active = ActivationGoal(release: created.release, identity: forwardActivation)
            directive.tasks += extraTasks
            directive.health = extraHealth
        }
    }

    /// What a node that is not what the run says lets through: nothing that writes.
    private func shut(_ directive: inout Directive) {
        directive.service = .out
        directive.writes = .refuse(
            retryAfter: plan.writes.retryAfter, message: "this node is being upgraded; try again")
    }

    // MARK: Back

    private func goBack(_ directive: inout Directive, _ node: NodeName, _ member: Member) {
        let steps = itinerary.map(\.step)
        func isPast(_ step: Step) -> Bool {
            guard let place = steps.firstIndex(of: step) else { return true }
            return (current?.index ?? -1) > place
        }
        if isClosed { directive.writes = admission }
        if !isPast(.database(.revertMigrate)), steps.contains(.nodes(.readsHeld)),
            let hold = readHold
        {
            directive.reads = ReadAdmission(hold: hold)
        }
        if begunBack.contains(.nodes(.reactivated)), let old = oldRelease(of: node) {
            directive.active = ActivationGoal(release: old, identity: backActivation)
            if isClosed || member.quarantine != nil, let hold = readHold {
                directive.reads = ReadAdmission(hold: hold, until: backActivation)
            }
        } else if steps.contains(.nodes(.reactivated)), !isPast(.nodes(.reactivated)) {
            keepForward(&directive, member)
        }
        if begunBack.contains(.nodes(.unstaged)) {
            directive.tasks = unstageTasks
            directive.unstage = releaseToRemove
        } else if steps.contains(.nodes(.unstaged)) {
            directive.stage = created.release
        }
        if member.quarantine != nil { shut(&directive) }
    }

    /// Until the old schema is back, an upgraded node goes on with what it serves.
    private func keepForward(_ directive: inout Directive, _ member: Member) {
        guard let batch = member.batch, begun.contains(.nodes(.upgraded(batch: batch))) else {
            return
        }
        directive.active = ActivationGoal(release: created.release, identity: forwardActivation)
    }

    // MARK: Ended

    private func end(_ directive: inout Directive, _ node: NodeName, _ member: Member) {
        if direction == .back {
            if begunBack.contains(.nodes(.reactivated)), let old = oldRelease(of: node) {
                directive.active = ActivationGoal(release: old, identity: backActivation)
                if member.quarantine != nil, let hold = readHold {
                    directive.reads = ReadAdmission(hold: hold, until: backActivation)
                }
            }
            if begun.contains(.nodes(.staged)) {
                directive.tasks = unstageTasks
                directive.unstage = releaseToRemove
            }
            if member.quarantine != nil { shut(&directive) }
        } else if member.quarantine != nil {
            quarantine(&directive, member)
        } else {
            directive.stage = created.release
            directive.active = ActivationGoal(release: created.release, identity: forwardActivation)
            directive.tasks = retireTasks(of: node)
            directive.keepReleases = plan.keepReleases
        }
    }
}

// MARK: - What the plan says, as goals

extension Run {
    var forwardActivation: ActivationIdentity {
        ActivationIdentity(unchecked: "\(identifier).forward")
    }
    var backActivation: ActivationIdentity { ActivationIdentity(unchecked: "\(identifier).back") }

    var admission: WriteAdmission {
        switch plan.writes.admission {
        case .hold(let atMost, let duration):
            .hold(
                HoldLimits(atMost: atMost, duration: duration, retryAfter: plan.writes.retryAfter))
        case .refuse(let message): .refuse(retryAfter: plan.writes.retryAfter, message: message)
        }
    }

    /// The limits of held reads; `nil` when the old code survives the migration.
    var readHold: HoldLimits? {
        guard plan.database != nil, case .hold(let duration, let atMost) = plan.reads else {
            return nil
        }
        return HoldLimits(atMost: atMost, duration: duration, retryAfter: plan.writes.retryAfter)
    }

    var warmTasks: [NodeTask] {
        actions(plan.rollout.warm, at: .nodes(.staged), .beforeActivation, release: created.release)
    }

    func upgradeTasks(_ batch: Int) -> [NodeTask] {
        upgradeTasks(at: .nodes(.upgraded(batch: batch)))
    }

    /// For a node that is upgraded by itself, outside the batches.
    ///
    /// Not the canary's: one that failed as the canary is tried once more like any other that is quarantined, and what is done
    /// once a name would not be done again under that one.
    var extraTasks: [NodeTask] { upgradeTasks(at: .nodes(.upgraded(batch: 0)), isExtra: true) }
    var extraHealth: HealthGoal {
        health("upgrade", at: .nodes(.upgraded(batch: 0)), isExtra: true)
    }

    private func upgradeTasks(at step: Step, isExtra: Bool = false) -> [NodeTask] {
        let release = created.release
        return actions(
            plan.rollout.actions, at: step, .afterActivation, release: release, isExtra: isExtra)
            + plan.rollout.caches.map { cache in
                NodeTask(
                    identity: identity("flush", cache.rawValue, at: step, isExtra: isExtra),
                    kind: .flush, name: cache.rawValue, moment: .afterActivation, release: release)
            }
    }

    /// Stops the old application after the lift: the release that this node served before.
    func retireTasks(of node: NodeName) -> [NodeTask] {
        guard let old = oldRelease(of: node), old != created.release else { return [] }
        return actions(plan.rollout.retire, at: .nodes(.retired), .afterActivation, release: old)
    }

    /// Stops the new application on the way back.
    var unstageTasks: [NodeTask] {
        actions(
            plan.rollout.retire, at: .nodes(.unstaged), .afterActivation, release: created.release)
    }

    /// What leaves the disk on the way back.
    ///
    /// A release that has been served for a moment stays: pages loaded from it still ask for its assets. It goes with the others that are
    /// not kept any more.
    var releaseToRemove: ReleaseReference? {
        begun.contains(.nodes(.upgraded(batch: 0))) ? nil : created.release
    }

    func hookTask(_ index: Int) -> NodeTask {
        let action = plan.hooks[index].action.rawValue
        return NodeTask(
            identity: identity("hook\(index)", action, at: .hook(index)), kind: .action,
            name: action,
            moment: .afterActivation, release: created.release)
    }

    func upgradeHealth(_ batch: Int) -> HealthGoal {
        health("upgrade", at: .nodes(.upgraded(batch: batch)))
    }

    var verifyHealth: HealthGoal { health("verify", at: .nodes(.verified)) }

    private func health(_ word: String, at step: Step, isExtra: Bool = false) -> HealthGoal {
        HealthGoal(
            identity: identity(word, "health", at: step, isExtra: isExtra),
            check: plan.rollout.health.check,
            release: created.release.name, consecutive: plan.rollout.health.consecutive)
    }

    private func actions(
        _ names: [ActionName], at step: Step, _ moment: NodeTask.Moment,
        release: ReleaseReference?, isExtra: Bool = false
    ) -> [NodeTask] {
        names.map { name in
            NodeTask(
                identity: identity("action", name.rawValue, at: step, isExtra: isExtra),
                kind: .action,
                name: name.rawValue,
                moment: moment, release: release)
        }
    }

    private func identity(
        _ word: String, _ name: String, at step: Step, isExtra: Bool = false
    ) -> TaskIdentity {
        let place =
            isExtra
            ? "nodes.upgraded.extra"
            : step.description.split(separator: ":").joined(separator: ".")
        return TaskIdentity(rawValue: "\(identifier)/\(place)/\(word)/\(name)/\(attempt(at: step))")
    }
}
