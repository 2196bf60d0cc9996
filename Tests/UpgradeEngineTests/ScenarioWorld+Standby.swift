// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

@testable import UpgradeEngine

/// What has to be so of a database with a standby, all the time: each node that takes part serves code on a schema that it knows, and one
/// server at most takes writes.
extension ScenarioWorld {
    mutating func checkStandby() {
        guard let standby = database.standby, let run = core.run(ScenarioWorld.run) else { return }
        if standby.isPrimary, !database.isShut { note(violation: "two primaries take writes") }
        for name in run.participants {
            guard let node = nodes[name] else { continue }
            let release = node.active.release
            let isRead = run.members[name]?.isOff != true
            switch (release.name == ScenarioWorld.old.name, release.database) {
            case (true, nil)
            where isRead && database.isMigratedAnyhow && !mayReadAnyhow(run):
                note(violation: "\(name) reads the new schema with the old release")
            case (true, .standby) where database.isStandbyMigrated:
                note(violation: "\(name) reads the new schema of the standby with the old release")
            case (true, .standby) where !standby.hasAll && !standby.isPrimary && isRead:
                note(violation: "\(name) reads on a standby that may be behind")
            case (false, .standby):
                note(violation: "\(name) reads the standby with the new release")
            case (false, nil) where !database.isMigratedAnyhow && !run.plan.hasTool:
                note(violation: "\(name) reads the old schema with the new release")
            default: break
            }
            guard node.isGateOpen, !node.isLost, !run.isEnded else { continue }
            if release.database != nil, !standby.isPrimary {
                note(violation: "\(name) lets writes through to the standby")
            }
            if release.database == nil, database.isShut {
                note(violation: "\(name) lets writes through to a primary that is shut")
            }
        }
    }

    /// The plan says that the old code survives the migration, and the standby was lost.
    private func mayReadAnyhow(_ run: Run) -> Bool {
        run.plan.readsWithoutStandby == .serve && run.database.standbyLosses > 0
    }

    mutating func loseStandby() {
        note("the standby is lost")
        database.standby?.isLost = true
        for name in nodes.keys { nodes[name]?.isStandbyDead = true }
    }

    mutating func startStandby() {
        note("the standby is back")
        database.standby?.isLost = false
        for name in nodes.keys { nodes[name]?.isStandbyDead = false }
    }

    mutating func outage() {
        guard let standbyOutage, database.standby != nil else { return }
        let isLost = standbyOutage.contains(journal.count)
        if isLost != database.standby?.isLost { isLost ? loseStandby() : startStandby() }
    }

    /// Somebody looks after the standby all the time. - Returns: whether anything came of it.
    mutating func watchStandby() -> Bool {
        guard let standby = database.standby, let run = core.run(ScenarioWorld.run),
            run.watchesStandby
        else { return false }
        checkReadersWithoutStandby()
        let sight: StandbySight =
            standby.isLost ? .silent("the standby does not answer") : .frozen
        guard run.isNews(sight) else { return false }
        put(.standbySeen(ScenarioWorld.run, sight))
        return true
    }

    /// Once everybody has heard of it, nobody is sent to a standby that does not answer.
    private mutating func checkReadersWithoutStandby() {
        let run = theRun
        guard database.standby?.isLost == true, run.database.standbyLoss?.isOver == false else {
            return
        }
        for name in run.participants {
            guard let node = nodes[name], !node.isLost, disturbance == nil || node.real == nil,
                node.active.release.database == .standby, !node.holdsReads
            else { continue }
            note(violation: "\(name) sends readers to a standby that is lost")
        }
    }

    /// Whoever still read from the primary would be cut off when it is shut.
    mutating func checkReadersAreOnStandby() {
        for name in theRun.participants where nodes[name]?.active.release.database == nil {
            note(violation: "\(name) is cut off with the primary")
        }
        guard theRun.begun.contains(.started) else { return }
        for name in theRun.participants where nodes[name]?.isSilent(ScenarioWorld.new) != true {
            note(violation: "promotes before the new release of \(name) is halted")
        }
    }

    /// Rolled back onto the standby: it has the schema of before, and the first primary lets nobody in.
    mutating func checkEndOfPromotion() {
        guard let standby = database.standby else { return }
        if theRun.state == .done { note(violation: "done with the standby as the primary") }
        if !database.isFenced { note(violation: "the first primary ended without its fence") }
        if standby.isMigrated { note(violation: "the standby ended with the new schema") }
        if standby.isExpanded { note(violation: "the standby ended with the expansion") }
    }
}
