// SPDX-License-Identifier: Apache-2.0

import GRDB
import RunStore

extension StoreFailure {
    /// Whether nothing more may be asked of the store: the process stops and starts again from what is on disk.
    var stopsTheStore: Bool {
        switch self {
        case .full, .io, .corrupt: true
        case .conflict, .superseded, .fleetHeld, .leaderHeld, .notFound, .rejected: false
        }
    }

    /// What an error of SQLite means for the store.
    init(_ error: any Error, path: String) {
        if let failure = error as? StoreFailure {
            self = failure
            return
        }
        guard let error = error as? DatabaseError else {
            self = .io("\(path): \(error)")
            return
        }
        // Never the statement or its arguments: a body may hold what is no business of a log.
        let what = error.message ?? error.resultCode.description
        switch error.resultCode {
        case .SQLITE_FULL:
            self = .full(
                "\(path): \(what); free space on its disk, then start the coordinator again")
        // The index of the write-ahead log cannot be made: SQLite says of it what it says of a broken disk.
        case .SQLITE_IOERR where hasNoRoom(beside: path):
            self = .full(
                "\(path): its disk has no room left; free space there, then start the coordinator again"
            )
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            self = .damaged(path, what)
        case .SQLITE_CANTOPEN where hasNoDescriptorLeft():
            self = .io("\(path): too many open files; \(tooFewDescriptors)")
        case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
            self = .io("\(path): \(what); do it as the coordinator's user, or give another --data")
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            self = .io(
                """
                \(path): another process has kept it locked for more than \(Int(SQLiteRunStore.busyTimeout)) s; \
                end it (fuser \(path)), then start the coordinator again
                """)
        default:
            self = .io(
                "\(path): \(what) (SQLite \(error.extendedResultCode.rawValue)); look at the disk, then start again"
            )
        }
    }

    /// The file is not what was written to it.
    static func damaged(_ path: String, _ what: String) -> StoreFailure {
        .corrupt(
            """
            \(path) is damaged: \(what); nothing was changed. Keep a copy of its directory, then put the newest backup \
            in its place (docs/coordinator.md, "When the journal is damaged")
            """)
    }
}
