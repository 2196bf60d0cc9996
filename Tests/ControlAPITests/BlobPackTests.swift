// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import ControlAPI

@Suite struct BlobPackTests {
    private func digest(_ number: UInt8) -> Digest { Digest(bytes: (0..<32).map { _ in number }) }

    /// Whatever the pieces in which a pack arrives, the same blobs come out of it, an empty one and the largest as well.
    @Test(arguments: [1, 7, 36, 4096, 1 << 20]) func aPackComesApartAsItWasMade(piece: Int) throws {
        let blobs: [(Digest, [UInt8])] = [
            (digest(1), [1, 2, 3]), (digest(2), []),
            (digest(3), [UInt8](repeating: 9, count: piece == 1 ? 5000 : BlobPack.blobBytes)),
        ]
        let whole = blobs.flatMap { BlobPack.head($0.0, count: $0.1.count) + $0.1 }
        var reader = BlobPack.Reader()
        var found: [(digest: Digest, bytes: [UInt8])] = []
        var rest = whole[...]
        while !rest.isEmpty {
            found += try reader.read(rest.prefix(piece))
            rest = rest.dropFirst(piece)
        }
        #expect(reader.isAtEnd)
        #expect(found.map(\.digest) == blobs.map(\.0))
        #expect(found.map(\.bytes) == blobs.map(\.1))
    }

    @Test func whatIsTooLongOrTooManyIsRefusedBeforeItIsKept() throws {
        var reader = BlobPack.Reader()
        #expect(throws: BlobPack.Malformed.self) {
            try reader.read(BlobPack.head(digest(1), count: BlobPack.blobBytes + 1))
        }
        var many = BlobPack.Reader()
        let empty = BlobPack.head(digest(1), count: 0)
        for _ in 0..<BlobPack.blobs { _ = try many.read(empty) }
        #expect(throws: BlobPack.Malformed.self) { try many.read(empty) }
    }

    @Test func aPackThatEndsInTheMiddleIsNotAtItsEnd() throws {
        var reader = BlobPack.Reader()
        #expect(try reader.read(BlobPack.head(digest(1), count: 3) + [1, 2]).isEmpty)
        #expect(!reader.isAtEnd)
    }

    @Test func listsAreReadAsTheyWereWritten() {
        let some = (1...5).map { digest(UInt8($0)) }
        #expect(BlobPack.digests(inList: BlobPack.list(some)) == some)
        #expect(BlobPack.digests(inList: []) == nil)
        #expect(BlobPack.digests(inList: Array("not a digest\n".utf8)) == nil)
        let many = BlobPack.list((0...BlobPack.blobs).map { _ in digest(1) })
        #expect(BlobPack.digests(inList: many) == nil)
        #expect(many.count > BlobPack.listBytes)
    }

    @Test func packsAreBoundedInCountAndBytes() {
        let sizes: [Int64] = (0..<2000).map { $0.isMultiple(of: 10) ? 200_000 : 500 }
        let packs = BlobPack.packs(of: sizes) { $0 }
        #expect(packs.flatMap { $0 } == sizes)
        for pack in packs {
            #expect(pack.count <= BlobPack.blobs)
            #expect(pack.reduce(0, +) + Int64(36 * pack.count) <= Int64(BlobPack.bytes))
        }
        #expect(packs.count < 30)
        #expect(BlobPack.packs(of: [Int64(BlobPack.blobBytes + 1), 1]) { $0 } == [[1]])
    }
}
