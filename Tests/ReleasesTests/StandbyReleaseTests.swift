// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing
import TestSupport
import UpgradeModel

@testable import Releases

/// A release that runs once more on the same node, on the standby.
@Suite struct StandbyReleaseTests {
    let directory: TemporaryDirectory
    let root: String
    let store: ReleaseStore
    let v1: TestRelease
    let v2: TestRelease
    var reader: ReleaseReference { v1.reference.on(.standby) }

    init() async throws {
        directory = try TemporaryDirectory()
        root = "\(directory.path)/root"
        store = try ReleaseStore.at(root)
        v1 = try TestRelease(
            "v1.0", ["app": "1", "x bin/start": "#!", "lib/a": "a", "s/a.1f1f1f1f.js": "js"],
            assets: "s")
        v2 = try TestRelease("v2", ["app": "2", "s/b.2f2f2f2f.js": "js2"], assets: "s")
        try await store.stage(v1)
        _ = try await store.activate(v1.reference, generation: .init(rawValue: 1))
    }

    private func inode(_ release: ReleaseReference, _ path: String) throws -> UInt64? {
        try FileSystem().status("\(store.filesDirectory(of: release))/\(path)")?.inode
    }

    @Test func itIsMadeOfTheFilesThatAreThereInADirectoryAndWithASocketOfItsOwn() async throws {
        try await store.stageBeside(reader)
        #expect(reader.identifier == "\(v1.reference.identifier).standby")
        #expect(Set(try await store.staged()) == [v1.reference, reader])
        for path in ["app", "bin/start", "lib/a", "s/a.1f1f1f1f.js"] {
            #expect(try inode(reader, path) != nil)
            #expect(try inode(reader, path) == inode(v1.reference, path), "\(path) is one file")
        }
        #expect(try await store.verify(reader).isIntact)
        #expect(store.socketPath(of: reader) == "/run/test/\(reader.identifier).sock")
        #expect(try await store.manifest(of: reader) == v1.manifest)
        let before = try listing(root)
        try await store.stageBeside(reader)
        #expect(try listing(root) == before, "once more changes nothing")
    }

    /// What an application writes beside its files (the number of its process) would be taken for the other's.
    @Test func itHasWhatWasBuiltAndNotWhatTheApplicationHasWrittenSince() async throws {
        let built = try TestRelease("built", ["app": "b"])
        try await store.stage(
            manifest: built.manifest.encoded, as: built.reference,
            from: MemorySource(built.blobs),
            finish: { top throws(ReleaseFailure) in
                try FileSystem().makeDirectory("\(top)/env", mode: 0o750)
                try FileSystem().write([1], to: "\(top)/env/module", mode: 0o644)
                try FileSystem().symbolicLink(to: "module", at: "\(top)/env/link")
                return true
            })
        let files = store.filesDirectory(of: built.reference)
        // Beyond what a clock of the kernel tells apart.
        try await Task.sleep(for: .milliseconds(20))
        try FileSystem().write([2], to: "\(files)/env/server.pid", mode: 0o644)
        let other = built.reference.on(.standby)
        try await store.stageBeside(other)
        let made = store.filesDirectory(of: other)
        #expect(try content("\(made)/app") == "b")
        #expect(try inode(other, "env/module") == inode(built.reference, "env/module"))
        #expect(try FileSystem().target(ofLink: "\(made)/env/link") == "module")
        #expect(try FileSystem().status("\(made)/env")?.mode == 0o750)
        #expect(try FileSystem().status("\(made)/env/server.pid") == nil)
    }

    @Test func whatTheNodeSharesIsLinkedAsInAnyRelease() async throws {
        let shared = "\(directory.path)/shared-root"
        try FileSystem().makeDirectory(shared, mode: 0o755)
        try FileSystem().makeDirectory("\(shared)/shared", mode: 0o755)
        try FileSystem().makeDirectory("\(shared)/shared/uploads", mode: 0o755)
        let store = try ReleaseStore(
            .init(
                root: shared, socketTemplate: "/run/test/{release}.sock",
                shared: [try BundlePath("uploads")], reservedBytes: 0))
        try await store.stage(v1)
        try await store.stageBeside(reader)
        #expect(
            try FileSystem().target(ofLink: "\(store.filesDirectory(of: reader))/uploads")
                == "\(shared)/shared/uploads")
    }

    /// A version runs once, and needs no socket of its own there.
    @Test func aVersionIsNamedOnceMore() async throws {
        let oneSocket = try ReleaseStore(
            .init(root: root, socketTemplate: "/run/test/app.sock", reservedBytes: 0))
        let version = try TestRelease("v7", [Bundle.versionFile: "7\n"])
        try await oneSocket.stage(version)
        let other = version.reference.on(.standby)
        try await oneSocket.stageBeside(other)
        #expect(try await oneSocket.staged().contains(other))
        #expect(
            try content("\(oneSocket.filesDirectory(of: other))/\(Bundle.versionFile)") == "7\n")
    }

    @Test func itIsRefusedWhereTheNodeDoesNotHaveTheReleaseOrCannotRunItTwice() async throws {
        let strange = v2.reference.on(.standby)
        let missing = await failure { try await store.stageBeside(strange) }
        #expect(missing?.code == .notStaged)
        #expect(missing?.message.contains("sluice-agent adopt") == true)
        let oneSocket = try ReleaseStore(
            .init(root: root, socketTemplate: "/run/test/app.sock", reservedBytes: 0))
        let shared = await failure { try await oneSocket.stageBeside(reader) }
        #expect(shared?.message.contains("application.socket") == true)
        #expect(try await store.staged().allSatisfy { $0.database == nil })
    }

    @Test func itIsNotMadeOfDamagedFiles() async throws {
        let file = "\(store.filesDirectory(of: v1.reference))/app"
        try FileSystem().setMode(file, 0o644)
        #expect(await failure { try await store.stageBeside(reader) }?.code == .damaged)
        #expect(try await !store.isStaged(reader))
    }

    /// Its pages are the same, so that what is cached of them stays; the next release has its generation prepared meanwhile.
    @Test func theFlipThereAndBackKeepsTheGeneration() async throws {
        try await store.stage(v2)
        try await store.prepareActivation(v2.reference, generation: .init(rawValue: 2))
        try await store.stageBeside(reader)
        let generation = try await store.generation(toPrepare: reader)
        #expect(generation.rawValue == 1)
        try await store.prepareActivation(reader, generation: generation)
        let there = try await store.activate(reader, generation: generation)
        #expect(try await store.current() == there)
        #expect(there.directory.hasSuffix("/activations/1-\(reader.identifier)"))
        #expect(
            try FileSystem().target(ofLink: "\(root)/current/app.sock")
                == store.socketPath(of: reader))
        #expect(try await !store.isFlippedBack(from: v1.reference))
        _ = try await store.activate(v1.reference, generation: generation)
        #expect(try await store.current()?.release == v1.reference)
        #expect(try await store.isFlippedBack(from: reader))
        _ = try await store.activate(reader, generation: generation)
        _ = try await store.activate(v2.reference, generation: .init(rawValue: 2))
        #expect(try await !store.isFlippedBack(from: v1.reference))
        let late = await failure {
            _ = try await store.activate(reader, generation: generation)
        }
        #expect(late?.code == .staleGeneration, "from another release back is a new generation")
        _ = try await store.activate(reader, generation: .init(rawValue: 3))
    }

    @Test func itTakesNoPlaceAmongTheReleasesThatAreKept() async throws {
        try await store.stageBeside(reader)
        try await store.prepareActivation(reader, generation: .init(rawValue: 1))
        try await store.stage(v2)
        _ = try await store.activate(v2.reference, generation: .init(rawValue: 2))
        let pruning = try await store.prune(keeping: 2)
        #expect(pruning.releases == [reader])
        #expect(Set(try await store.staged()) == [v1.reference, v2.reference])
        #expect(try await store.verify(v1.reference).isIntact)
        #expect(try content("\(root)/assets/a.1f1f1f1f.js") == "js")
    }

    /// After a promotion it is what the node serves, and the release that it is made of is what goes on.
    @Test func whereItIsServedBothStay() async throws {
        try await store.stageBeside(reader)
        _ = try await store.activate(reader, generation: .init(rawValue: 1))
        #expect(try await store.prune(keeping: 1).releases.isEmpty)
        #expect(try await store.current()?.release == reader)
        _ = try await store.activate(v1.reference, generation: .init(rawValue: 1))
        try await store.remove(reader)
        #expect(try await store.staged() == [v1.reference])
        #expect(try await store.current()?.release == v1.reference)
        #expect(try await store.verify(v1.reference).isIntact)
    }

    @Test func aKillAtAnyChangeLeavesTheReleaseAsItWasAndTheNextCallCompletesIt() async throws {
        try await store.stageBeside(reader)
        let expected = try listing(root)
        try await store.remove(reader)
        for step in 0..<200 {
            let killer = Killer()
            let dying = try ReleaseStore.at(root, files: killer.files)
            killer.arm(after: step)
            let result = await Result { try await dying.stageBeside(reader) }
            if case .success = result {
                #expect(step > 10)
                return
            }
            let next = try ReleaseStore.at(root)
            #expect(try await next.verify(v1.reference).isIntact, "\(killer.steps.last ?? "")")
            try await next.stageBeside(reader)
            #expect(try listing(root) == expected, "\(killer.steps.last ?? "")")
            try await next.remove(reader)
        }
        Issue.record("it never ended")
    }
}
