// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Glibc
import RunStore
import SQLiteRunStore
import Testing
import TestSupport
import UpgradeModel

@Suite struct BlobConformanceTests {
    @Test(arguments: Implementation.allCases)
    func givesBackWhatItReceivedWholeAndInRanges(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let digest = Digest.sha256(of: bytes)
        #expect(try await blobs.size(of: digest) == nil)
        try await blobs.put(bytes, pieces: 7)
        #expect(try await blobs.size(of: digest) == 300_000)
        #expect(try await blobs.read(digest, offset: 0, length: 400_000) == bytes)
        #expect(
            try await blobs.read(digest, offset: 299_990, length: 100) == Array(bytes.suffix(10)))
        #expect(try await blobs.read(digest, offset: 1000, length: 5) == Array(bytes[1000..<1005]))
        #expect(try await blobs.read(digest, offset: 300_000, length: 5).isEmpty)
    }

    @Test(arguments: Implementation.allCases)
    func hasTheEmptyBlobOnceItWasReceived(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        try await blobs.put([], pieces: 1)
        #expect(try await blobs.size(of: Digest.sha256(of: [])) == 0)
    }

    @Test(arguments: Implementation.allCases)
    func showsNothingBeforeTheEndAndNothingOfABlobThatWasGivenUp(_ implementation: Implementation)
        async throws
    {
        let blobs = try await implementation.open().blobs
        let digest = Digest.sha256(of: "half")
        let receiver = try await blobs.receive(digest, limit: 100)
        try await receiver.write(Array("half".utf8))
        #expect(try await blobs.size(of: digest) == nil)
        await #expect(throws: StoreFailure.notFound("blob \(digest)")) {
            try await blobs.read(digest, offset: 0, length: 4)
        }
        await receiver.cancel()
        #expect(try await blobs.size(of: digest) == nil)
    }

    @Test(arguments: Implementation.allCases)
    func storesAndReadsManySmallBlobsAtOnce(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        let contents = (0..<40).map { Array("blob \($0)".utf8) }
        let digests = contents.map { Digest.sha256(of: $0) }
        #expect(try await blobs.missing(of: digests, renews: true) == digests)
        try await blobs.store(zip(digests, contents).map { ($0, $1) })
        #expect(try await blobs.missing(of: digests, renews: true) == [])
        let unknown = Digest.sha256(of: "unknown")
        #expect(try await blobs.missing(of: [digests[3], unknown], renews: false) == [unknown])
        #expect(
            try await blobs.readWhole([digests[7], digests[2]], limit: 100)
                == [contents[7], contents[2]])
        await #expect(throws: StoreFailure.notFound("blob \(unknown)")) {
            try await blobs.readWhole([digests[0], unknown], limit: 100)
        }
        // Again, as after an answer that was lost.
        try await blobs.store(zip(digests, contents).map { ($0, $1) })
    }

    @Test(arguments: Implementation.allCases)
    func storesNothingUnderADigestThatItHasNot(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        let wrong = Digest.sha256(of: "wanted")
        await #expect(throws: StoreFailure.self) {
            try await blobs.store([(wrong, Array("hostile".utf8))])
        }
        #expect(try await blobs.missing(of: [wrong], renews: false) == [wrong])
    }

    @Test(arguments: Implementation.allCases)
    func refusesBytesWithAnotherDigest(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        let digest = Digest.sha256(of: "wanted")
        let receiver = try await blobs.receive(digest, limit: 100)
        try await receiver.write(Array("hostile".utf8))
        await #expect(throws: StoreFailure.self) { try await receiver.finish() }
        #expect(try await blobs.size(of: digest) == nil)
    }

    @Test(arguments: Implementation.allCases)
    func refusesMoreBytesThanAllowed(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        let digest = Digest.sha256(of: "12345")
        let receiver = try await blobs.receive(digest, limit: 4)
        try await receiver.write(Array("1234".utf8))
        await #expect(throws: StoreFailure.self) { try await receiver.write(Array("5".utf8)) }
        #expect(try await blobs.size(of: digest) == nil)
    }

    @Test(arguments: Implementation.allCases)
    func takesTheSameBlobTwiceAlsoAtTheSameTime(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        let bytes = Array("the same".utf8)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { try await blobs.put(bytes, pieces: 2) } }
            try await group.waitForAll()
        }
        try await blobs.put(bytes, pieces: 1)
        #expect(try await blobs.read(Digest.sha256(of: bytes), offset: 0, length: 99) == bytes)
    }

    @Test(arguments: Implementation.allCases)
    func keepsWhatItIsAskedToKeep(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        try await blobs.put(Array("kept".utf8), pieces: 1)
        try await blobs.prune(keeping: [Digest.sha256(of: "kept")])
        #expect(try await blobs.size(of: Digest.sha256(of: "kept")) == 4)
    }

    @Test(arguments: Implementation.allCases)
    func renewsABlobThatIsThereAndOnlyThat(_ implementation: Implementation) async throws {
        let blobs = try await implementation.open().blobs
        try await blobs.put(Array("here".utf8), pieces: 1)
        #expect(try await blobs.renew(Digest.sha256(of: "here")) == 4)
        #expect(try await blobs.renew(Digest.sha256(of: "not here")) == nil)
    }

    @Test
    func onADiskThrowsAwayWhatIsOlderThanAnHourUnlessItWasRenewed() async throws {
        let directory = try TemporaryDirectory()
        let blobs = try await FileBlobStore(directory: directory.path)
        for text in ["old", "renewed"] {
            try await blobs.put(Array(text.utf8), pieces: 1)
            let digest = Digest.sha256(of: text)
            let path = "\(directory.path)/blobs/\(digest.hexadecimal.prefix(2))/\(digest)"
            var times = [timespec(tv_sec: 1000, tv_nsec: 0), timespec(tv_sec: 1000, tv_nsec: 0)]
            try #require(utimensat(AT_FDCWD, path, &times, 0) == 0)
        }
        _ = try await blobs.renew(Digest.sha256(of: "renewed"))
        try await blobs.prune(keeping: [])
        #expect(try await blobs.size(of: Digest.sha256(of: "old")) == nil)
        #expect(try await blobs.size(of: Digest.sha256(of: "renewed")) == 7)
    }
}

extension BlobStore {
    func put(_ bytes: [UInt8], pieces: Int) async throws {
        let receiver = try await receive(Digest.sha256(of: bytes), limit: Int64(bytes.count))
        let size = max(1, (bytes.count + pieces - 1) / pieces)
        for start in stride(from: 0, to: bytes.count, by: size) {
            try await receiver.write(Array(bytes[start..<min(bytes.count, start + size)]))
        }
        try await receiver.finish()
    }
}
