// SPDX-License-Identifier: Apache-2.0

import Glibc
import RunStore

/// Keeps the writers of one store from each other, whichever processes they are in: `DIRECTORY/writer.lock`.
///
/// SQLite excludes writers itself, but not a writer from a checkpoint of another connection, and up to 3.51.2 that loses committed
/// transactions when it comes at the wrong instant (sqlite.org/wal.html, "The WAL-Reset Bug"). Whoever holds this lock is the only one
/// that commits, and so the only one that checkpoints: SQLite does that at the end of a commit, or when the last connection closes.
final class WriterLock: Sendable {
    private let path: String
    private let descriptor: Int32

    init(path: String) throws(StoreFailure) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw systemFailure("open", path) }
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Does something while no other process writes; blocks until then.
    ///
    /// - Throws: `.io` when another holds it for longer than a commit may wait.
    func holding<Value>(_ work: () throws -> Value) throws -> Value {
        let end = ContinuousClock.now + .seconds(SQLiteRunStore.busyTimeout)
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else {
                throw systemFailure("lock", path)
            }
            guard ContinuousClock.now < end else {
                throw StoreFailure.io(
                    "another process has held \(path) for \(Int(SQLiteRunStore.busyTimeout)) s; end it, then start the coordinator again"
                )
            }
            usleep(1000)
        }
        defer { flock(descriptor, LOCK_UN) }
        return try work()
    }
}
