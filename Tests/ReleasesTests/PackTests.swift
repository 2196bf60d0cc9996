// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Synchronization
import Testing
import TestSupport
import UpgradeModel

@testable import Releases

/// Many small files come in few requests, and are on the disk all the same.
@Suite struct PackTests {
    private let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private static func release(_ count: Int) throws -> TestRelease {
        var files: [String: String] = ["large.bin": String(repeating: "x", count: 300_000)]
        for number in 0..<count {
            files["node_modules/d\(number % 40)/f\(number).js"] = "\(number)"
        }
        return try TestRelease("v1", files)
    }

    @Test func thousandsOfSmallFilesComeInAFewPacks() async throws {
        let store = try ReleaseStore.at(directory.path)
        let release = try Self.release(1500)
        let source = PackSource(release.blobs)
        let progress = Mutex(
            StagingProgress(release: release.reference, bytesDone: 0, bytesTotal: 0))
        try await store.stage(release, from: source) { new in progress.withLock { $0 = new } }
        #expect(source.packs == 3)
        #expect(
            source.singles == [
                Digest.sha256(of: release.blobs.values.first { $0.count > 1000 } ?? [])
            ])
        #expect(try await store.verify(release.reference).isIntact)
        let last = progress.withLock { $0 }
        #expect(last.bytesDone == last.bytesTotal && last.bytesTotal > 300_000)
    }

    /// One sync for all of them, before the release is in its place.
    @Test func manyFilesAreBroughtToTheDiskInOneCall() async throws {
        let killer = Killer()
        killer.arm(after: .max)
        let store = try ReleaseStore.at(directory.path, files: killer.files)
        let release = try Self.release(300)
        try await store.stage(release, from: PackSource(release.blobs))
        let steps = killer.steps
        let sync = try #require(steps.firstIndex { $0.hasPrefix("syncfs ") })
        let place = try #require(
            steps.firstIndex { $0.hasPrefix("rename ") && $0.contains("/releases/v1.") })
        let links = try #require(
            steps.lastIndex { $0.hasPrefix("link ") && $0.contains("/files/") })
        #expect(links < sync && sync < place)
        #expect(steps.count { $0.hasPrefix("fsync ") } < 10)
    }

    @Test func whatASourceLeavesOutOfAPackIsFetchedByItself() async throws {
        let store = try ReleaseStore.at(directory.path)
        let release = try Self.release(100)
        let source = PackSource(release.blobs, leavesOut: 5)
        try await store.stage(release, from: source)
        #expect(source.singles.count == 6)
        #expect(try await store.verify(release.reference).isIntact)
    }

    @Test func wrongContentInAPackRefusesTheReleaseAndLeavesNothing() async throws {
        let store = try ReleaseStore.at(directory.path)
        let release = try Self.release(100)
        let before = try listing(directory.path)
        let found = await failure {
            try await store.stage(release, from: PackSource(release.blobs, spoils: true))
        }
        #expect(found?.code == .wrongContent)
        #expect(try listing(directory.path) == before)
    }

    @Test func aPackThatBreaksOffIsGoneOnWithFromWhatHasCome() async throws {
        let store = try ReleaseStore.at(directory.path)
        let release = try Self.release(100)
        let first = PackSource(release.blobs, breaksAfter: 60)
        #expect(await failure { try await store.stage(release, from: first) }?.code == .fetchFailed)
        let second = PackSource(release.blobs)
        try await store.stage(release, from: second)
        #expect(second.asked == 40)
        #expect(try await store.verify(release.reference).isIntact)
    }

    /// Killed before any change, the next attempt ends with the same release.
    @Test func killedAnywhereTheNextAttemptMakesTheRelease() async throws {
        let release = try Self.release(70)
        let whole = Killer()
        whole.arm(after: .max)
        let place = "\(directory.path)/whole"
        try await ReleaseStore.at(place, files: whole.files).stage(
            release, from: PackSource(release.blobs))
        let count = whole.steps.count
        for changes in stride(from: 0, to: count, by: 9) {
            let root = "\(directory.path)/\(changes)"
            let killer = Killer()
            killer.arm(after: changes)
            let store = try? ReleaseStore.at(root, files: killer.files)
            try? await store?.stage(release, from: PackSource(release.blobs))
            let next = try ReleaseStore.at(root)
            try await next.stage(release, from: PackSource(release.blobs))
            #expect(try await next.verify(release.reference).isIntact, "after \(changes)")
        }
    }
}

/// A source that knows packs.
private final class PackSource: BlobSource {
    private struct State {
        var packs = 0
        var asked = 0
        var singles: [Digest] = []
    }
    private let blobs: [Digest: [UInt8]]
    private let leavesOut: Int
    private let spoils: Bool
    private let breaksAfter: Int?
    private let state = Mutex(State())

    init(
        _ blobs: [Digest: [UInt8]], leavesOut: Int = 0, spoils: Bool = false,
        breaksAfter: Int? = nil
    ) {
        self.blobs = blobs
        self.leavesOut = leavesOut
        self.spoils = spoils
        self.breaksAfter = breaksAfter
    }

    var packs: Int { state.withLock { $0.packs } }
    /// Blobs that were asked for in packs.
    var asked: Int { state.withLock { $0.asked } }
    var singles: [Digest] { state.withLock { $0.singles } }

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        state.withLock { $0.singles.append(digest) }
        guard let bytes = blobs[digest] else { throw Interrupted() }
        guard bytes.dropFirst(Int(offset)).withUnsafeBytes({ sink.write($0) }) else {
            throw Interrupted()
        }
    }

    func fetchPack(
        _ digests: [Digest], into take: @escaping @Sendable (Digest, [UInt8]) -> Bool
    ) async throws -> Bool {
        state.withLock {
            $0.packs += 1
            $0.asked += digests.count
        }
        for (index, digest) in digests.dropFirst(leavesOut).enumerated() {
            if index == breaksAfter { throw Interrupted() }
            let bytes = spoils && index == 3 ? [0] : blobs[digest] ?? []
            guard take(digest, bytes) else { throw Interrupted() }
        }
        return true
    }
}
