// SPDX-License-Identifier: Apache-2.0

import MigrationReader
import Synchronization
import Testing

@testable import Coordinator

@Suite struct MigrationShelfTests {
    private func file(_ text: String) -> MigrationSet.File {
        MigrationSet.File(name: "0001_note.up.sql", text: text)
    }

    @Test
    func readsTheSameFilesOnceAndOthersAnew() throws {
        let reads = Reads()
        let shelf = MigrationShelf { files throws(MigrationSet.Invalid) in
            reads.count.withLock { $0 += 1 }
            return try MigrationSet.read(files)
        }
        let first = try shelf.set(of: [file("CREATE TABLE a ();")])
        #expect(try shelf.set(of: [file("CREATE TABLE a ();")]) == first)
        #expect(reads.count.withLock { $0 } == 1)
        #expect(try shelf.set(of: [file("CREATE TABLE b ();")]) != first)
        #expect(reads.count.withLock { $0 } == 2)
    }

    @Test
    func saysEachTimeWhatIsWrongWithFilesThatCannotBeRead() {
        let shelf = MigrationShelf()
        for _ in 1...2 {
            #expect(throws: MigrationSet.Invalid.self) {
                try shelf.set(of: [file("SELECT 1;"), file("SELECT 2;")])
            }
        }
    }

    @Test
    func keepsWhatWasAskedForLast() throws {
        let reads = Reads()
        let shelf = MigrationShelf { files throws(MigrationSet.Invalid) in
            reads.count.withLock { $0 += 1 }
            return try MigrationSet.read(files)
        }
        for number in 1...3 { _ = try shelf.set(of: [file("CREATE TABLE t\(number) ();")]) }
        _ = try shelf.set(of: [file("CREATE TABLE t2 ();")])
        #expect(reads.count.withLock { $0 } == 3)
        _ = try shelf.set(of: [file("CREATE TABLE t1 ();")])
        #expect(reads.count.withLock { $0 } == 4)
    }

    private final class Reads: Sendable {
        let count = Mutex(0)
    }
}
