// SPDX-License-Identifier: Apache-2.0

import Files
import GRDB
import Glibc
public import RunStore
import Synchronization
import UpgradeModel

/// The journal and the registry in one SQLite file, `DIRECTORY/sluice.db`.
///
/// One connection, one writer at a time, every commit synced. A full disk, an I/O error or damage is remembered: everything after
/// it is refused with the same failure, because what a failed sync has left behind can't be known by trying again.
public final class SQLiteRunStore: Sendable {
    /// How much of the file is examined when it is opened.
    public enum Examination: Sendable {
        /// Pages, and the chain of every run: as long as the whole history takes.
        case full
        /// Nothing but the header; what is read later is held against its chain then.
        case none
    }

    /// How long a lock of another process (`sluice token`, a backup) is waited for, in seconds.
    static let busyTimeout = 10.0

    let database: DatabaseQueue
    let path: String
    private let writers: WriterLock
    /// How often this store itself may have changed tokens or nodes; one too many costs a look.
    let ownRegistryChanges = Mutex<Int64>(0)
    private let fault = Mutex<StoreFailure?>(nil)

    /// Whether a directory has a store; one that this user cannot look into may have.
    public static func exists(in directory: String) -> Bool {
        access("\(directory)/sluice.db", F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)
    }

    /// Opens the store, and makes it when it is not there.
    ///
    /// - Parameter maximumPages: a limit on the file's size in pages of 4 KiB, for tests of a full disk.
    /// - Throws: `.corrupt` when the examination finds damage; nothing is changed then.
    public convenience init(
        directory: String, examine: Examination = .full, maximumPages: Int? = nil
    ) async throws(StoreFailure) {
        try onDisk { () throws(FileFailure) in try makeDirectories(directory, mode: 0o700) }
        try self.init(path: "\(directory)/sluice.db", maximumPages: maximumPages)
        try await perform { db in try self.writers.holding { try prepareSchema(of: db) } }
        if examine == .full {
            let path = path
            try await perform { db in try examineFile(at: path, db) }
        }
        try onDisk { () throws(FileFailure) in try syncDirectory(directory) }
    }

    private init(path: String, maximumPages: Int?) throws(StoreFailure) {
        self.path = path
        let writers = try WriterLock(path: "\(parentDirectory(of: path))/writer.lock")
        self.writers = writers
        var configuration = Configuration()
        configuration.label = "sluice.journal"
        configuration.busyMode = .timeout(Self.busyTimeout)
        configuration.maximumReaderCount = 1
        configuration.prepareDatabase { db in
            try setDurability(of: db)
            if let maximumPages { try db.execute(sql: "PRAGMA max_page_count = \(maximumPages)") }
        }
        do {
            // The first opening of a new file writes its mode.
            database = try writers.holding {
                try DatabaseQueue(path: path, configuration: configuration)
            }
        } catch {
            throw StoreFailure(error, path: path)
        }
    }

    /// Examines every page and index of the file; nobody can append meanwhile.
    ///
    /// - Throws: `.corrupt` with what was found.
    public func examinePages() async throws(StoreFailure) {
        let path = path
        try await perform { db in try SQLiteRunStore.examinePages(at: path, db) }
    }

    /// Closes the file once what is under way has ended. Everything afterwards is refused.
    public func close() async {
        _ = remember(.io("\(path) has been closed"))
        try? await withCheckedContinuation { continuation in
            database.asyncWriteWithoutTransaction { _ in
                continuation.resume(returning: Result<Void, any Error>.success(()))
            }
        }.get()
        try? database.close()
    }

    /// Runs on the connection's own queue, never on the shared pool.
    ///
    /// Not cancelled with the calling task: a commit is waited for to its end, so that its outcome is known.
    func perform<Value: Sendable>(
        _ work: @escaping @Sendable (Database) throws -> Value
    ) async throws(StoreFailure) -> Value {
        let result: Result<Value, StoreFailure> = await withCheckedContinuation { continuation in
            database.asyncWriteWithoutTransaction { db in
                continuation.resume(returning: self.guarded { try work(db) })
            }
        }
        return try result.get()
    }

    /// One transaction: all of what the work changes or, when it throws, nothing. Called on the connection's queue.
    func transaction(_ db: Database, _ work: () throws -> Void) throws {
        try writers.holding {
            try db.inTransaction(.immediate) {
                try work()
                return .commit
            }
        }
    }

    /// Refuses after a fault, and remembers one.
    func guarded<Value>(_ work: () throws -> Value) -> Result<Value, StoreFailure> {
        if let fault = fault.withLock({ $0 }) { return .failure(fault) }
        do {
            return .success(try work())
        } catch let damage as DamagedHistory {
            return .failure(damage.failure)
        } catch {
            return .failure(remember(StoreFailure(error, path: path)))
        }
    }

    private func remember(_ failure: StoreFailure) -> StoreFailure {
        guard failure.stopsTheStore else { return failure }
        return fault.withLock { fault in
            fault = fault ?? failure
            return failure
        }
    }

    /// The failure that stopped the store, if any.
    var stoppedBy: StoreFailure? { fault.withLock { $0 } }
}

/// A write-ahead log that is synced at each commit: one sync, where a rollback journal takes four.
///
/// The SQLite of Debian 12 (3.40.1) has the WAL-reset bug of 3.7.0 to 3.51.2; `WriterLock` keeps from it what it needs. With `FULL` a
/// commit is on the disk when it returns. What the pragmas answer is checked: SQLite keeps silent about a mode it did not take.
/// Source: sqlite.org/pragma.html#pragma_synchronous.
private func setDurability(of db: Database) throws {
    let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
    guard mode == "wal" else {
        throw StoreFailure.io(
            "SQLite took journal_mode \(mode ?? "none") where WAL was asked for; is it on a local file system?"
        )
    }
    try db.execute(sql: "PRAGMA synchronous = FULL")
    let level = try Int.fetchOne(db, sql: "PRAGMA synchronous")
    guard level == 2 else {
        throw StoreFailure.io(
            "SQLite took synchronous \(level ?? -1) where FULL (2) was asked for")
    }
}
