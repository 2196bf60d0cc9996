// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
import Glibc
import RunStore
import Synchronization
import Testing
import TestSupport
import UpgradeModel

@testable import SQLiteRunStore

@Suite struct DurabilityTests {
    @Test
    func commitsToAWriteAheadLogAndSyncsIt() async throws {
        let directory = try TemporaryDirectory()
        let store = try await SQLiteRunStore(directory: directory.path)
        let answers = try await store.perform { db in
            [
                try String.fetchOne(db, sql: "PRAGMA journal_mode"),
                try String.fetchOne(db, sql: "PRAGMA synchronous"),
            ]
        }
        #expect(answers == ["wal", "2"])
    }

    /// A coordinator that was started on a full disk was told to look at the disk, and not why.
    @Test
    func saysThatTheDiskIsFullWhereSQLiteCallsItAnErrorOfTheDisk() throws {
        let error = DatabaseError(resultCode: .SQLITE_IOERR_SHMSIZE)
        // Nobody may write a byte there.
        let full = StoreFailure(error, path: "/proc/sluice.db")
        guard case .full(let message) = full else {
            Issue.record("\(full)")
            return
        }
        #expect(message.contains("free space there, then start the coordinator again"))
        let directory = try TemporaryDirectory()
        let other = StoreFailure(error, path: directory.path + "/sluice.db")
        guard case .io = other else {
            Issue.record("\(other)")
            return
        }
    }

    @Test
    func commitsNothingWhileAnotherProcessWritesAndReadsMeanwhile() async throws {
        let directory = try TemporaryDirectory()
        let store = try await SQLiteRunStore(directory: directory.path)
        let lease = FileLeaderLease(directory: directory.path, store: store)
        let epoch = try await lease.acquire(holder: "one")
        let other = try await SQLiteRunStore(directory: directory.path, examine: .none)
        let path = "\(directory.path)/writer.lock"
        let lock = open(path, O_RDWR | O_CLOEXEC)
        defer { close(lock) }
        try #require(flock(lock, LOCK_EX) == 0)
        async let appended: Void = store.append(
            JournalAppend(run1, after: 0, epoch: epoch, ["a"], claim: .take(web)))
        #expect(try await other.events(of: run1, after: 0, limit: 9).isEmpty)
        flock(lock, LOCK_UN)
        try await appended
        #expect(try await other.events(of: run1, after: 0, limit: 9).map(\.text) == ["a"])
    }

    @Test
    func holdsTheLockOfTheWritersWhileItCommits() async throws {
        let directory = try TemporaryDirectory()
        let store = try await SQLiteRunStore(directory: directory.path)
        let path = "\(directory.path)/writer.lock"
        let wasFree = try await store.perform { db in
            var wasFree = true
            try store.transaction(db) {
                let lock = open(path, O_RDWR | O_CLOEXEC)
                wasFree = flock(lock, LOCK_EX | LOCK_NB) == 0
                close(lock)
            }
            return wasFree
        }
        #expect(!wasFree)
    }

    @Test
    func freesItsLeadForTheNextAlthoughAChildBetweenForkAndExecHasTheLockFileOpen() async throws {
        let directory = try TemporaryDirectory()
        let store = try await SQLiteRunStore(directory: directory.path)
        let first = FileLeaderLease(directory: directory.path, store: store)
        _ = try await first.acquire(holder: "one")
        // What such a child has: the same open file once more.
        let name = "\(directory.path)/leader.lock"
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap(
            Int32.init
        )
        .filter {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))
                == name
        }
        let child = dup(try #require(open.first))
        defer { close(child) }
        await first.release()
        let second = FileLeaderLease(directory: directory.path, store: store)
        #expect(try await second.acquire(holder: "two").rawValue == 2)
        await second.release()
    }

    @Test
    func givesBackAfterARestartWhatItAcknowledgedBefore() async throws {
        let directory = try TemporaryDirectory()
        let first = try await SQLiteRunStore(directory: directory.path)
        let lease = FileLeaderLease(directory: directory.path, store: first)
        let epoch = try await lease.acquire(holder: "one")
        try await first.append(
            JournalAppend(run1, after: 0, epoch: epoch, ["a", "b"], claim: .take(web)))
        try await first.addToken(
            hash: Digest(bytes: Array(repeating: 7, count: 32)),
            for: .node(NodeName(unchecked: "web1")),
            labels: ["a": "b"], at: Instant(milliseconds: 1))
        await first.close()
        await lease.release()

        let second = try await SQLiteRunStore(directory: directory.path)
        #expect(try await second.events(of: run1, after: 0, limit: 9).map(\.text) == ["a", "b"])
        #expect(try await second.claims().map(\.run) == [run1])
        #expect(try await second.nodes().map(\.labels) == [["a": "b"]])
        let later = try await FileLeaderLease(directory: directory.path, store: second).acquire(
            holder: "two")
        #expect(later == epoch.next)
    }

    @Test
    func afterAFullDiskRefusesEverythingAndHasLostNothingAcknowledged() async throws {
        let directory = try TemporaryDirectory()
        let store = try await SQLiteRunStore(directory: directory.path, maximumPages: 40)
        try await fillUp(store, directory.path)
    }

    @Test(.enabled(if: getuid() == 0))
    func afterARealFullDiskRefusesEverythingAndHasLostNothingAcknowledged() async throws {
        let directory = try TemporaryDirectory()
        let target = "\(directory.path)/small"
        try #require(mkdir(target, 0o700) == 0)
        guard mount("tmpfs", target, "tmpfs", 0, "size=256k") == 0 else {
            // A container may forbid it; the case above stands for it then.
            return
        }
        defer { umount2(target, Int32(MNT_DETACH)) }
        let store = try await SQLiteRunStore(directory: target)
        try await fillUp(store, target)
    }

    /// Appends until the disk is full; then looks at what a new process finds.
    private func fillUp(_ store: SQLiteRunStore, _ directory: String) async throws {
        let lease = FileLeaderLease(directory: directory, store: store)
        let epoch = try await lease.acquire(holder: "one")
        var acknowledged: [String] = []
        var stopped: StoreFailure?
        while stopped == nil, acknowledged.count < 10_000 {
            let text = "event \(acknowledged.count) " + String(repeating: "x", count: 1000)
            do {
                try await store.append(
                    JournalAppend(
                        run1, after: Int64(acknowledged.count), epoch: epoch, [text],
                        claim: acknowledged.isEmpty ? .take(web) : nil))
                acknowledged.append(text)
            } catch {
                stopped = error
            }
        }
        let failure = try #require(stopped)
        guard case .full(let message) = failure else {
            Issue.record("\(failure) instead of a full disk")
            return
        }
        #expect(message.contains("\(directory)/sluice.db"))
        #expect(store.stoppedBy == failure)
        await #expect(throws: failure) { try await store.claims() }
        await #expect(throws: failure) {
            try await store.append(
                JournalAppend(run1, after: Int64(acknowledged.count), epoch: epoch, ["small"]))
        }
        await store.close()
        let next = try await SQLiteRunStore(directory: directory)
        #expect(
            try await next.events(of: run1, after: 0, limit: 20_000).map(\.text) == acknowledged)
    }

    @Test
    func refusesToStartOnAFileThatIsNoDatabase() async throws {
        let directory = try TemporaryDirectory()
        try write(
            Array("this is not a database, it is a letter".utf8), at: 0,
            "\(directory.path)/sluice.db")
        await expectCorrupt("\(directory.path)/sluice.db") {
            try await SQLiteRunStore(directory: directory.path)
        }
    }

    @Test
    func refusesToStartOnTablesOfAnotherProgram() async throws {
        let directory = try TemporaryDirectory()
        try edit(directory.path, "CREATE TABLE event (x)")
        await expectCorrupt("another program") {
            try await SQLiteRunStore(directory: directory.path)
        }
    }

    private static let edits = [
        "UPDATE event SET body = x'61' WHERE version = 2",
        "UPDATE event SET at = at + 1 WHERE version = 3",
        "UPDATE event SET epoch = 0 WHERE version = 1",
        "DELETE FROM event WHERE version = 3",
        "DELETE FROM event WHERE version = 1",
        "UPDATE event SET version = 9 WHERE version = 3",
        "UPDATE run SET version = 2; DELETE FROM event WHERE version = 3",
        "DELETE FROM event",
    ]

    @Test(arguments: Self.edits)
    func refusesToStartOnAnEditedRemovedOrReorderedEventAndNamesTheRun(_ edit: String) async throws
    {
        let directory = try TemporaryDirectory()
        try await storeThree(directory.path)
        try self.edit(directory.path, edit)
        await expectCorrupt("run run-1") { try await SQLiteRunStore(directory: directory.path) }
    }

    @Test(arguments: Self.edits)
    func anEditedRemovedOrReorderedEventIsFoundAndOtherRunsGoOn(_ edit: String) async throws {
        let directory = try TemporaryDirectory()
        try await storeThree(directory.path)
        try self.edit(directory.path, edit)
        let store = try await SQLiteRunStore(directory: directory.path, examine: .none)
        await expectCorrupt("run run-1") { try await store.events(of: run1, after: 0, limit: 9) }
        let lease = FileLeaderLease(directory: directory.path, store: store)
        let epoch = try await lease.acquire(holder: "two")
        try await store.append(
            JournalAppend(run2, after: 0, epoch: epoch, ["x"], claim: .take(shop)))
        #expect(try await store.events(of: run2, after: 0, limit: 9).map(\.text) == ["x"])
        await store.close()
    }

    @Test
    func saysThatThereAreTooManyOpenFilesAndWhereTheirNumberIsSet() async throws {
        let failure = systemFailure("open", "/srv/sluice.db", EMFILE)
        #expect("\(failure)".contains("LimitNOFILE"))
        #expect(!"\(failure)".contains("coordinator's user"))
    }

    @Test
    func refusesToStartOnATornPage() async throws {
        let directory = try TemporaryDirectory()
        try await storeThree(directory.path)
        let path = "\(directory.path)/sluice.db"
        var status = stat()
        try #require(stat(path, &status) == 0)
        for page in 1..<Int(status.st_size) / 4096 {
            try write(Array(repeating: 0, count: 512), at: page * 4096, path)
        }
        await expectCorrupt(path) { try await SQLiteRunStore(directory: directory.path) }
    }

    @Test
    func refusesAJournalThatIsOlderThanTheLeadThatTheLockFileTellsOf() async throws {
        let directory = try TemporaryDirectory()
        try await storeThree(directory.path)
        try #require(truncate("\(directory.path)/sluice.db", 0) == 0)
        let store = try await SQLiteRunStore(directory: directory.path)
        await expectCorrupt("--accept-older-journal") {
            try await FileLeaderLease(directory: directory.path, store: store).acquire(
                holder: "two")
        }
        await store.close()
        let accepted = try await SQLiteRunStore(directory: directory.path)
        let lease = FileLeaderLease(
            directory: directory.path, store: accepted, acceptOlderJournal: true)
        #expect(try await lease.acquire(holder: "two") == Epoch(rawValue: 2))
    }

    @Test
    func letsASecondProcessAddTokensWhileTheFirstAppends() async throws {
        let directory = try TemporaryDirectory()
        let store = try await SQLiteRunStore(directory: directory.path)
        let lease = FileLeaderLease(directory: directory.path, store: store)
        let epoch = try await lease.acquire(holder: "one")
        let other = try await SQLiteRunStore(directory: directory.path, examine: .none)
        async let tokens: Void = {
            for number in 0..<50 {
                try await other.addToken(
                    hash: Digest(bytes: Array(repeating: UInt8(number), count: 32)),
                    for: .node(NodeName(unchecked: "web\(number)")), labels: [:],
                    at: Instant(milliseconds: 1))
            }
        }()
        for version in 0..<50 {
            try await store.append(
                JournalAppend(
                    run1, after: Int64(version), epoch: epoch, ["x"],
                    claim: version == 0 ? .take(web) : nil))
        }
        try await tokens
        #expect(try await store.nodes().count == 50)
        #expect(try await other.events(of: run1, after: 0, limit: 99).count == 50)
    }

    private func edit(_ directory: String, _ sql: String) throws {
        try DatabaseQueue(path: "\(directory)/sluice.db").write { try $0.execute(sql: sql) }
    }

    private func storeThree(_ directory: String) async throws {
        let store = try await SQLiteRunStore(directory: directory)
        let lease = FileLeaderLease(directory: directory, store: store)
        let epoch = try await lease.acquire(holder: "one")
        try await store.append(
            JournalAppend(run1, after: 0, epoch: epoch, ["one", "two", "three"], claim: .take(web)))
        await store.close()
        await lease.release()
    }

    private func expectCorrupt(_ words: String, _ work: () async throws -> some Any) async {
        do {
            _ = try await work()
            Issue.record("nothing was refused")
        } catch StoreFailure.corrupt(let message) {
            #expect(message.contains(words))
        } catch {
            Issue.record("\(error)")
        }
    }

    private func write(_ bytes: [UInt8], at offset: Int, _ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
        try #require(descriptor >= 0)
        defer { Glibc.close(descriptor) }
        try #require(pwrite(descriptor, bytes, bytes.count, off_t(offset)) == bytes.count)
    }
}
