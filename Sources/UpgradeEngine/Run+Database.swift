// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What the database is asked for now.
public enum DatabaseCommand: Hashable, Sendable {
    case perform(DatabaseTaskFact)
    /// The task in flight is not wanted any more: end it as soon as possible and say how it ended.
    case cancel(DatabaseTaskFact)
}

extension Run {
    /// What the database needs, now; computed, so that a new leader asks for the same.
    public var databaseCommand: DatabaseCommand? {
        guard let task = database.inFlight else { return nil }
        let isWanted = current?.step == .database(task.kind)
        switch standing {
        case .going, .paused: return isWanted ? .perform(task) : .cancel(task)
        case .stopped, .ended: return .cancel(task)
        }
    }
}
