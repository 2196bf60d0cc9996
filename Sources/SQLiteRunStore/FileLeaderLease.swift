// SPDX-License-Identifier: Apache-2.0

import Files
import GRDB
import Glibc
public import RunStore
import Synchronization
public import UpgradeModel

/// The lead as a lock that the operating system holds for a living process: `DIRECTORY/leader.lock`.
///
/// A process that ends in any way, `kill -9` included, loses it at once; a paused one keeps it. The file tells a second process who
/// leads, and which epoch has been led, so that a journal put back from an old copy is noticed. Not for network file systems.
public final class FileLeaderLease: LeaderLease {
    private let store: SQLiteRunStore
    private let path: String
    private let acceptOlderJournal: Bool
    private let descriptor = Mutex<Int32?>(nil)
    private let lanes = BlockingLanes(count: 1, label: "sluice.lease")

    /// - Parameter acceptOlderJournal: go on, above every epoch led before, although the journal knows less than the lock file. A
    ///   person says so after putting a backup back.
    public init(directory: String, store: SQLiteRunStore, acceptOlderJournal: Bool = false) {
        self.store = store
        self.acceptOlderJournal = acceptOlderJournal
        path = "\(directory)/leader.lock"
    }

    /// Whether a living process leads the store in a directory. It may have changed by the time that this returns.
    public static func isHeld(in directory: String) -> Bool {
        let descriptor = open("\(directory)/leader.lock", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { _ = Glibc.close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0
    }

    deinit {
        if let descriptor = descriptor.withLock({ $0 }) { giveUp(descriptor) }
    }

    public func acquire(holder: String) async throws(StoreFailure) -> Epoch {
        let path = path
        let held = descriptor.withLock { $0 }
        let lock =
            if let held { held } else {
                try await lanes.run(0) { () throws(StoreFailure) in try takeLock(path) }
            }
        descriptor.withLock { $0 = lock }
        do throws(StoreFailure) {
            return try await raiseEpoch(holder: holder, lock)
        } catch {
            await release()
            throw error
        }
    }

    private func raiseEpoch(holder: String, _ lock: Int32) async throws(StoreFailure) -> Epoch {
        let path = path
        let led = try await lanes.run(0) { () throws(StoreFailure) in readLock(lock).epoch }
        let accept = acceptOlderJournal
        let store = store
        let epoch = try await store.perform { db in
            let known = try Int64.fetchOne(db, sql: "SELECT epoch FROM leader") ?? 0
            if led > known && !accept {
                throw StoreFailure.corrupt(
                    """
                    the journal knows epochs up to \(known), but \(path) says that epoch \(led) has led: the journal is an \
                    older copy, or was emptied. Put the newest copy of sluice.db back; if it is lost, look at every node \
                    and the database, then start with --accept-older-journal
                    """)
            }
            let next = max(known, led) + 1
            try store.transaction(db) {
                try db.execute(
                    sql: "UPDATE leader SET epoch = ?, holder = ?", arguments: [next, holder])
            }
            return Epoch(rawValue: next)
        }
        try await lanes.run(0) { () throws(StoreFailure) in try writeLock(lock, epoch, holder, path)
        }
        return epoch
    }

    public func release() async {
        descriptor.withLock { descriptor in
            if let open = descriptor { giveUp(open) }
            descriptor = nil
        }
    }
}

private func takeLock(_ path: String) throws(StoreFailure) -> Int32 {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw systemFailure("open", path) }
    // A child between its fork and its exec may hold the lock of a process that has just been killed, hence the patience.
    if lockFile(descriptor, patience: .milliseconds(500)) { return descriptor }
    let number = errno
    let holder = readLock(descriptor).holder
    _ = Glibc.close(descriptor)
    guard number == EWOULDBLOCK else { throw systemFailure("lock", path, number) }
    throw .leaderHeld(by: holder)
}

/// Unlocks before it closes: a child between its fork and its exec has the file open as well, and the lock with it.
private func giveUp(_ descriptor: Int32) {
    flock(descriptor, LOCK_UN)
    _ = Glibc.close(descriptor)
}

/// The epoch led last, and who led. A file that is new or torn says zero and `unknown`.
private func readLock(_ descriptor: Int32) -> (epoch: Int64, holder: String) {
    var buffer = [UInt8](repeating: 0, count: 1024)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    guard count > 0 else { return (0, "another process") }
    let lines = String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
    guard lines.count >= 2, let epoch = Int64(lines[0]) else { return (0, "another process") }
    return (epoch, String(lines[1]))
}

private func writeLock(
    _ descriptor: Int32, _ epoch: Epoch, _ holder: String, _ path: String
) throws(StoreFailure) {
    let line = holder.split(separator: "\n").joined(separator: " ").prefix(512)
    let bytes = Array("\(epoch.rawValue)\n\(line)\n".utf8)
    guard pwrite(descriptor, bytes, bytes.count, 0) == bytes.count,
        ftruncate(descriptor, off_t(bytes.count)) == 0, fsync(descriptor) == 0
    else { throw systemFailure("write", path) }
    try onDisk { () throws(FileFailure) in try syncDirectory(parentDirectory(of: path)) }
}
