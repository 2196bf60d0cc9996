// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import UpgradePlan

/// Databases that the run goes on without: their migration has failed, their fence stays up, and their sites are closed.
extension Run {
    /// Why a database is left out of this run; `nil` where it is not.
    func reasonLeftOut(_ label: DatabaseName?) -> String? {
        direction == .forward ? label.flatMap { leftOut[$0]?.reason } : nil
    }

    /// What follows when the migration of a database has failed: the run goes on without it, where the plan lets it.
    ///
    /// - Returns: `nil` where it does not, or so many have failed already.
    func leavingOut(
        _ label: DatabaseName?, _ phase: Phase, because reason: String
    ) -> [RunEvent]? {
        guard let label, direction == .forward, !isPastPointOfNoReturn, leftOut[label] == nil,
            leftOut.count < plan.failedDatabasesAtMost
        else { return nil }
        return [
            .databaseLeftOut(DatabaseLeftOut(database: label, phase: phase, reason: reason))
        ]
    }

    /// Whether nothing is to be done at a step, because of what is left out of this run, or was of an earlier one.
    func isPassedOver(_ definition: any StepDefinition) -> Bool {
        guard direction == .forward else { return false }
        // Asked with each status of each node, and nearly always of a run that leaves nothing out.
        if leftOut.isEmpty, closedSites.isEmpty, database.leftOutBy.isEmpty {
            return definition is CloseSitesStep || definition is OpenSitesStep
                || definition is LeaveOutStep
        }
        let label = definition.database(in: plan)
        return switch definition {
        case is CloseSitesStep: leftOut.isEmpty
        case is OpenSitesStep: openingTasks.isEmpty
        case is LeaveOutStep: reasonLeftOut(label) == nil
        case is ExpandStep: reasonLeftOut(label) != nil
        // Its fence is up: what the tool does before the window, it does in the window.
        case is ExpandWithStep, is JudgeExpandStep:
            reasonLeftOut(label) != nil || database.leftOutBy[label] != nil
        default: definition.phase >= .migrate && reasonLeftOut(label) != nil
        }
    }

    /// Going forward again, a database has failed no more where the step that has failed is done again. Otherwise it stays left out.
    mutating func takeInAgain(from index: Int, of steps: [any StepDefinition]) {
        leftOut = leftOut.filter { name, left in
            !steps[index...].contains { step in
                let isFirst = left.phase == .stage ? step is ExpandStep : step is MigrateStep
                return isFirst && step.database(in: plan) == name
            }
        }
    }

    // MARK: Sites

    /// What closes the sites of what is left out.
    var closingTasks: [NodeTask] {
        if leftOut.isEmpty { return [] }
        return plan.databases.filter { leftOut[$0.name] != nil }.compactMap { database in
            database.leaveOut.map {
                siteTask(
                    database.name, $0.close, at: CloseSitesStep(.migrate, index: nil).step,
                    .beforeActivation)
            }
        }
    }

    /// What opens the sites of those that are left out no more.
    var openingTasks: [NodeTask] {
        if closedSites.isEmpty, database.leftOutBy.isEmpty { return [] }
        return plan.databases.filter(isToBeOpened).compactMap { database in
            database.leaveOut.map {
                siteTask(
                    database.name, $0.open, at: OpenSitesStep(.finish, index: nil).step,
                    .afterActivation)
            }
        }
    }

    private func isToBeOpened(_ wanted: Plan.Database) -> Bool {
        let wasLeftOut = database.leftOutBy[plan.label(of: wanted)] != nil
        let isClosed = closedSites.contains(wanted.name)
        return direction == .forward
            ? (wasLeftOut || isClosed) && leftOut[wanted.name] == nil : isClosed && !wasLeftOut
    }

    // MARK: For people

    /// The databases whose fence the run leaves up, and why, in the order of the plan.
    public var databasesLeftOut: [DatabaseLeftOut] {
        if direction == .forward {
            return plan.databases.compactMap { leftOut[$0.name] }
        }
        return plan.databases.compactMap { wanted in
            database.leftOutBy[plan.label(of: wanted)].map {
                DatabaseLeftOut(
                    database: wanted.name, reason: "left out by run \($0), and still is")
            }
        }
    }

    var reasonOfLeavingOut: String? {
        let all = databasesLeftOut
        if all.isEmpty { return nil }
        return "left out: " + Listed.text(all.map(\.sentence), separator: "; ")
    }

    /// What to do about them once the run has ended.
    var adviceOnLeftOut: String? {
        let all = databasesLeftOut
        guard isEnded, !all.isEmpty else { return nil }
        let names = Listed.text(all.map(\.database.rawValue), separator: ", ")
        let expected =
            state == .done && plan.release.expected != nil ? ", without its `release.expected`" : ""
        return
            "the fence of \(names) stays up and the site closed; put right its data or its migration, then run the same plan again\(expected), "
            + "or one that names \(all.count == 1 ? "this database" : "these databases") alone: it takes the fence over, migrates what is left, and opens the site"
    }
}

extension DatabaseFailure {
    /// Whether the migration itself has failed and nothing of it is left, as the database says: not the server, the fence or the
    /// coordinator.
    fileprivate static let ofMigration: Set<String> = [
        "sql", "statement-timeout", "lock-timeout", "way-back", "object-differs", "batches",
        "migration-edited", "migration-missing", "migration-out-of-order", "migration-requires",
        "migration-replaces", "migration-place", "migration-rights",
    ]
    var isOfMigration: Bool { effect == .none && DatabaseFailure.ofMigration.contains(code) }
}

extension DatabaseLeftOut {
    /// For people.
    public var sentence: String { "\(database): \(reason)" }
}
