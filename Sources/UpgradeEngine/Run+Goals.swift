// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// What the plan says, as goals of a node.
extension Run {
    var forwardActivation: ActivationIdentity {
        ActivationIdentity(unchecked: "\(identifier).forward\(turn)")
    }
    var backActivation: ActivationIdentity {
        ActivationIdentity(unchecked: "\(identifier).back\(turn)")
    }
    var readingActivation: ActivationIdentity {
        ActivationIdentity(unchecked: "\(identifier).standby\(turn)")
    }
    /// Of a node that reads from the primary because the standby is lost.
    var leavingActivation: ActivationIdentity {
        ActivationIdentity(unchecked: "\(identifier).primary\(turn)")
    }
    /// A run that goes forward again flips anew.
    private var turn: String { turns == 0 ? "" : "\(turns + 1)" }

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
        guard !plan.databases.isEmpty, case .hold(let duration, let atMost) = plan.reads else {
            return nil
        }
        return HoldLimits(atMost: atMost, duration: duration, retryAfter: plan.writes.retryAfter)
    }

    /// The limits of reads that wait for a node's own action to switch; `nil` where none does, beside the frozen standby.
    var switchHold: HoldLimits? {
        guard isDatabaseSwitched, let hold = plan.switchHold else { return nil }
        return HoldLimits(
            atMost: hold.atMost, duration: hold.span, retryAfter: plan.writes.retryAfter)
    }

    /// The limits of the held reads of those who have a session; `nil` when they are served.
    var sessionHold: HoldLimits? {
        guard !plan.databases.isEmpty, let sessions = plan.sessions, let hold = sessions.hold else {
            return nil
        }
        return HoldLimits(
            atMost: hold.atMost, duration: hold.span, retryAfter: plan.writes.retryAfter)
    }

    var warmTasks: [NodeTask] { made.warm ?? makeWarmTasks() }

    private func makeWarmTasks() -> [NodeTask] {
        guard !plan.startsAfterMigration else { return [] }
        return actions(plan.rollout.warm, at: .staged, .beforeActivation, release: created.release)
    }

    /// What starts the new release once the schema is the new one.
    var startTasks: [NodeTask] {
        made.start
            ?? actions(
                plan.rollout.warm, at: .started, .beforeActivation, release: created.release)
    }

    /// What the new release has to answer before any node flips to it.
    var startHealth: HealthGoal {
        if let health = made.startHealth { return health }
        var goal = health("start", at: .started)
        goal.others = plan.rollout.startChecks.isEmpty ? nil : plan.rollout.startChecks
        goal.place = .ownSocket
        return goal
    }

    func upgradeTasks(_ batch: Int) -> [NodeTask] {
        if let made = made.batches[batch] { return made.tasks }
        return upgradeTasks(at: .upgraded(batch: batch))
    }

    /// For a node that is upgraded by itself, outside the batches.
    ///
    /// Not the canary's: one that failed as the canary is tried once more like any other that is quarantined, and what is done
    /// once a name would not be done again under that one.
    var extraTasks: [NodeTask] {
        made.extraTasks ?? upgradeTasks(at: .upgraded(batch: 0), isExtra: true)
    }
    var extraHealth: HealthGoal {
        made.extraHealth ?? health("upgrade", at: .upgraded(batch: 0), isExtra: true)
    }

    private func upgradeTasks(at step: Step, isExtra: Bool = false) -> [NodeTask] {
        let release = created.release
        return actions(
            plan.rollout.actions, at: step, .afterActivation, release: release, isExtra: isExtra)
            + plan.rollout.caches.map { cache in
                NodeTask(
                    identity: identity("flush", cache.rawValue, at: step, isExtra: isExtra),
                    kind: .flush, name: cache.rawValue, timing: .afterActivation, release: release)
            }
    }

    /// Stops the old application after the lift: the release that this node served before.
    func retireTasks(of node: NodeName) -> [NodeTask] {
        guard let old = oldRelease(of: node), old != created.release else { return [] }
        return actions(plan.rollout.retire, at: .retired, .afterActivation, release: old)
    }

    /// What starts the old release of a node on the standby. Where it is switched there, nothing is started, and nothing has to end.
    func readerTasks(of node: NodeName) -> [NodeTask] {
        if isDatabaseSwitched { return [] }
        return actions(plan.rollout.warm, at: .reader, .beforeActivation, release: reader(of: node))
    }

    /// What it has to answer there before anybody is sent to it.
    func readerHealth(of reader: ReleaseReference) -> HealthGoal {
        var goal = health("reader", at: .reader)
        goal.release = reader.name
        goal.others = plan.rollout.startChecks.isEmpty ? nil : plan.rollout.startChecks
        goal.place = .ownSocket
        return goal
    }

    /// What a node has to answer once it serves that, with writers waiting: it was asked thoroughly before.
    func standbyHealth(of reader: ReleaseReference) -> HealthGoal {
        var goal = health("standby", at: .standbyServed)
        goal.release = reader.name
        goal.consecutive = 1
        return goal
    }

    /// The same once more, after the standby was lost.
    func lossHealth(of reader: ReleaseReference) -> HealthGoal {
        var goal = standbyHealth(of: reader)
        let word = "standby-lost-\(database.standbyLosses)"
        goal.identity = identity(word, "health", at: .standbyServed)
        return goal
    }

    /// What a node has to answer that serves the old release on the primary because the standby is lost.
    func primaryHealth(of reader: ReleaseReference) -> HealthGoal {
        var goal = lossHealth(of: reader)
        goal.standard = .anyAnswer
        return goal
    }

    /// Stops the old release of a node on the standby.
    func endReaderTasks(of node: NodeName) -> [NodeTask] {
        if isDatabaseSwitched { return [] }
        return actions(
            plan.rollout.retire, at: .readerEnded, .afterActivation, release: reader(of: node))
    }

    /// Stops the old release of a node on a primary that is none any more.
    func endOldTasks(of node: NodeName) -> [NodeTask] {
        actions(plan.rollout.retire, at: .oldEnded, .afterActivation, release: oldRelease(of: node))
    }

    /// Stops the new application on the way back.
    var unstageTasks: [NodeTask] {
        actions(
            plan.rollout.retire, at: .unstaged, .afterActivation, release: created.release)
    }

    /// What leaves the disk on the way back.
    ///
    /// A release that has been served for a moment stays: pages loaded from it still ask for its assets. It goes with the others that are
    /// not kept any more.
    var releaseToRemove: ReleaseReference? {
        begun.contains(.upgraded(batch: 0)) ? nil : created.release
    }

    /// What the old release has to answer once it is served again. It has served before, so any answer will do, and one is enough.
    func backHealth(of release: ReleaseReference) -> HealthGoal {
        var goal = health("reactivate", at: .reactivated)
        goal.release = release.name
        goal.standard = .anyAnswer
        goal.consecutive = 1
        return goal
    }

    func hookTask(_ index: Int) -> NodeTask {
        let action = plan.hooks[index].action.rawValue
        return NodeTask(
            identity: identity("hook\(index)", action, at: .hook(index)), kind: .action,
            name: action,
            timing: .afterActivation, release: created.release)
    }

    /// What undoes a hook; `nil` when nothing does.
    func hookUndoTask(_ index: Int) -> NodeTask? {
        plan.hooks[index].undo.map { action in
            NodeTask(
                identity: identity("hook\(index)", action.rawValue, at: .hookUndo(index)),
                kind: .action, name: action.rawValue, timing: .afterActivation,
                release: created.release)
        }
    }

    /// What closes or opens the site of a database.
    func siteTask(
        _ database: DatabaseName, _ action: ActionName, at step: Step, _ timing: TaskTiming
    ) -> NodeTask {
        NodeTask(
            identity: identity(database.rawValue, action.rawValue, at: step), kind: .action,
            name: action.rawValue, timing: timing, release: created.release, database: database)
    }

    func upgradeHealth(_ batch: Int) -> HealthGoal {
        made.batches[batch]?.health ?? health("upgrade", at: .upgraded(batch: batch))
    }

    var verifyHealth: HealthGoal { made.verifyHealth ?? health("verify", at: .verified) }

    /// What is the same for many nodes, made once: a fleet asks for it ten thousand times.
    struct MadeGoals: Sendable {
        fileprivate(set) var warm: [NodeTask]?
        fileprivate(set) var start: [NodeTask]?
        fileprivate(set) var startHealth: HealthGoal?
        fileprivate(set) var extraTasks: [NodeTask]?
        fileprivate(set) var extraHealth: HealthGoal?
        fileprivate(set) var verifyHealth: HealthGoal?
        fileprivate(set) var batches: [Int: (tasks: [NodeTask], health: HealthGoal)] = [:]
    }

    /// Asked when a step begins: its attempt is part of what is asked.
    mutating func makeGoals(of step: Step) {
        let batches = made.batches
        made = MadeGoals()
        let fresh = MadeGoals(
            warm: warmTasks, start: startTasks, startHealth: startHealth, extraTasks: extraTasks,
            extraHealth: extraHealth,
            verifyHealth: verifyHealth)
        var known = batches
        if let batch = step.batchUpgraded {
            known[batch] = (upgradeTasks(batch), upgradeHealth(batch))
        }
        made = fresh
        made.batches = known
    }

    private func health(_ word: String, at step: Step, isExtra: Bool = false) -> HealthGoal {
        HealthGoal(
            identity: identity(word, "health", at: step, isExtra: isExtra),
            check: plan.rollout.health.check,
            release: created.release.name, consecutive: plan.rollout.health.consecutive)
    }

    private func actions(
        _ names: [ActionName], at step: Step, _ timing: TaskTiming,
        release: ReleaseReference?, isExtra: Bool = false
    ) -> [NodeTask] {
        names.map { name in
            NodeTask(
                identity: identity("action", name.rawValue, at: step, isExtra: isExtra),
                kind: .action,
                name: name.rawValue,
                timing: timing, release: release)
        }
    }

    private func identity(
        _ word: String, _ name: String, at step: Step, isExtra: Bool = false
    ) -> TaskIdentity {
        let stepPart =
            isExtra
            ? "nodes.upgraded.extra"
            : step.description.split(separator: ":").joined(separator: ".")
        return TaskIdentity(
            rawValue: "\(identifier)/\(stepPart)/\(word)/\(name)/\(attempt(at: step))")
    }
}
