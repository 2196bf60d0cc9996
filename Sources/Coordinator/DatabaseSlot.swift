// SPDX-License-Identifier: Apache-2.0

import UpgradeEngine

/// What the worker of one of a run's databases does. One task at a time: the next is begun when the last has been answered.
enum DatabaseSlot: Equatable {
    case idle
    case performing(DatabaseTaskFact)
    /// It was told to end, and has not yet.
    case cancelling(DatabaseTaskFact)
    /// The run has been told how it ended, and may not have taken that in yet.
    case answered(DatabaseTaskFact)

    /// The task that is at work.
    var task: DatabaseTaskFact? {
        switch self {
        case .performing(let task), .cancelling(let task): task
        case .idle, .answered: nil
        }
    }
}

/// A worker, and the files that it has read.
struct HeldWorker {
    var worker: any DatabaseWorker
    var files: [MigrationReference]
}
