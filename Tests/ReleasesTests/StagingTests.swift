// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Glibc
import Synchronization
import Testing
import TestSupport
import UpgradeModel

@testable import Releases

@Suite struct Staging {
    let directory: TemporaryDirectory
    let root: String
    let first: TestRelease
    let second: TestRelease

    init() throws {
        directory = try TemporaryDirectory()
        root = "\(directory.path)/root"
        first = try TestRelease(
            "v1",
            [
                "app.py": "one", "x bin/start": "#!start", "lib/same.py": "same",
                "static/a.1.js": "js1",
            ],
            assets: "static")
        second = try TestRelease(
            "v2",
            [
                "app.py": "two", "x bin/start": "#!start", "lib/same.py": "same",
                "lib/copy.py": "same",
                "static/a.2.js": "js2", "empty": "",
            ],
            assets: "static")
    }

    @Test
    func aStagedReleaseHasEveryFileReadOnlyAndNothingIsActive() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        let files = store.filesDirectory(of: first.reference)
        #expect(try content("\(files)/app.py") == "one")
        #expect(try FileSystem().status("\(files)/app.py")?.mode == 0o444)
        #expect(try FileSystem().status("\(files)/bin/start")?.mode == 0o555)
        #expect(try await store.staged() == [first.reference])
        #expect(try await store.manifest(of: first.reference) == first.manifest)
        #expect(try await store.current() == nil)
        #expect(try await store.verify(first.reference).isIntact)
        #expect(try FileSystem().names(in: "\(root)/staging").isEmpty)
        #expect(try FileSystem().status("\(root)/staging")?.mode == 0o700)
    }

    @Test
    func onlyContentsThatNoStagedReleaseHasAreFetchedTheOthersAreLinked() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        let source = MemorySource(second.blobs)
        try await store.stage(second, from: source)
        #expect(
            Set(source.calls.map(\.digest)) == [Digest.sha256(of: "two"), Digest.sha256(of: "js2")])
        func inode(_ release: TestRelease, _ path: String) throws -> UInt64? {
            try FileSystem().status("\(store.filesDirectory(of: release.reference))/\(path)")?.inode
        }
        #expect(try inode(first, "lib/same.py") == inode(second, "lib/same.py"))
        #expect(try inode(second, "lib/copy.py") == inode(second, "lib/same.py"))
        #expect(try inode(first, "bin/start") == inode(second, "bin/start"))
        #expect(try await store.verify(second.reference).isIntact)
        #expect(try await store.verify(first.reference).isIntact)
    }

    @Test
    func aContentThatIsPlainHereAndExecutableThereKeepsBothModes() async throws {
        let store = try ReleaseStore.at(root)
        let plain = try TestRelease("plain", ["tool": "body"])
        let both = try TestRelease("both", ["x run": "body", "x again": "body", "plain": "body"])
        try await store.stage(plain)
        let source = MemorySource([:])
        try await store.stage(both, from: source)
        #expect(source.calls.isEmpty)
        #expect(try await store.verify(plain.reference).isIntact)
        #expect(try await store.verify(both.reference).isIntact)
    }

    @Test
    func aBlobThatAKilledStagingLeftLinkedIntoAReleaseKeepsItsMode() async throws {
        let store = try ReleaseStore.at(root)
        let plain = try TestRelease("plain", ["tool": "body"])
        try await store.stage(plain)
        let blob = "\(root)/staging/\(Digest.sha256(of: "body")).blob"
        link("\(store.filesDirectory(of: plain.reference))/tool", blob)
        let executable = try TestRelease("executable", ["x tool": "body"])
        try await store.stage(executable)
        #expect(try await store.verify(plain.reference).isIntact)
        #expect(try await store.verify(executable.reference).isIntact)
    }

    @Test
    func aDamagedFileOfAnotherReleaseIsNotTakenOverButFetched() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        let path = "\(store.filesDirectory(of: first.reference))/lib/same.py"
        unlink(path)
        try FileSystem().write(Array("SAME".utf8), to: path, mode: 0o444)
        try await store.stage(second)
        #expect(try content("\(store.filesDirectory(of: second.reference))/lib/same.py") == "same")
    }

    @Test
    func aFetchThatBrokeOffGoesOnWhereItWas() async throws {
        let body = String(repeating: "0123456789", count: 1000)
        let release = try TestRelease("big", ["big": body])
        let store = try ReleaseStore.at(root)
        let breaking = MemorySource(release.blobs, breakAfter: 4000)
        for _ in 1...2 {
            let error = await failure { try await store.stage(release, from: breaking) }
            #expect(error?.code == .fetchFailed)
        }
        #expect(try await store.staged().isEmpty)
        // A new process.
        let later = try ReleaseStore.at(root)
        let progress = Mutex<[StagingProgress]>([])
        try await later.stage(release, from: breaking) { step in
            progress.withLock { $0.append(step) }
        }
        #expect(breaking.calls.map(\.offset) == [0, 4000, 8000])
        #expect(
            progress.withLock { $0.first }
                == StagingProgress(release: release.reference, bytesDone: 8000, bytesTotal: 10_000))
        #expect(
            progress.withLock { $0.last }
                == StagingProgress(
                    release: release.reference, bytesDone: 10_000, bytesTotal: 10_000))
        #expect(try content("\(later.filesDirectory(of: release.reference))/big") == body)
    }

    @Test
    func aPartThatWasDamagedOnDiskIsFetchedAgainFromTheBeginning() async throws {
        let release = try TestRelease("r", ["a": "0123456789"])
        let store = try ReleaseStore.at(root)
        let digest = Digest.sha256(of: "0123456789")
        try FileSystem().write(
            Array("XXXX".utf8), to: "\(root)/staging/\(digest).part", mode: 0o600)
        let source = MemorySource(release.blobs)
        try await store.stage(release, from: source)
        #expect(source.calls.map(\.offset) == [4, 0])
        #expect(try await store.verify(release.reference).isIntact)
    }

    @Test
    func asManyBlobsAsConfiguredAreFetchedAtOnceAndNoMore() async throws {
        let release = try TestRelease(
            "r", Dictionary(uniqueKeysWithValues: (0..<12).map { ("f\($0)", "content \($0)") }))
        let store = try ReleaseStore.at(root)
        let reached = Mutex(0)
        // The first four wait for one another: with fewer at once this would never end.
        let source = MemorySource(release.blobs) {
            reached.withLock { $0 += 1 }
            let end = ContinuousClock.now + .seconds(10)
            while reached.withLock({ $0 }) < 4 {
                if ContinuousClock.now > end { throw Interrupted() }
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        try await store.stage(release, from: source)
        #expect(source.mostAtOnce == 4)
        #expect(source.calls.count == 12)
    }

    @Test
    func aSecondStagingIsRefusedWhileOneIsUnderWayAndSoIsRemovingFlippingIsNot() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        let goOn = Mutex(false)
        let source = MemorySource(second.blobs) {
            while !goOn.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(1)) }
        }
        let staging = Task { try await store.stage(second, from: source) }
        while source.running == 0 { await Task.yield() }
        #expect(await failure { try await store.stage(first) }?.code == .busy)
        #expect(await failure { _ = try await store.prune(keeping: 1) }?.code == .busy)
        #expect(await failure { try await store.remove(first.reference) }?.code == .busy)
        #expect(
            try await store.activate(first.reference, generation: .init(rawValue: 1)).generation
                .rawValue == 1)
        goOn.withLock { $0 = true }
        try await staging.value
        #expect(try await store.staged().count == 2)
    }

    @Test
    func cancellingAStagingKeepsWhatCameAndLeavesNoRelease() async throws {
        let store = try ReleaseStore.at(root)
        let source = MemorySource(first.blobs) { try await Task.sleep(for: .seconds(3600)) }
        let staging = Task { await failure { try await store.stage(first, from: source) } }
        while source.running == 0 { await Task.yield() }
        staging.cancel()
        #expect(await staging.value?.code == .cancelled)
        #expect(try await store.staged().isEmpty)
        try await store.stage(first)
        #expect(try await store.verify(first.reference).isIntact)
    }

    @Test
    func stagingAgainChangesNothing() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        let before = try listing(root)
        let source = MemorySource([:])
        try await store.stage(first, from: source)
        #expect(try listing(root) == before)
        #expect(source.calls.isEmpty)
    }

    @Test(arguments: ["changed", "missing", "mode", "link", "directory"])
    func aDamageToAStagedReleaseIsFoundAndStagingItAgainRepairsIt(kind: String) async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        let path = "\(store.filesDirectory(of: first.reference))/static/a.1.js"
        if kind == "changed" {
            chmod(path, 0o644)
            try FileSystem().write(Array("bad".utf8), to: path, mode: 0o444)
        } else if kind == "mode" {
            chmod(path, 0o644)
        } else {
            unlink(path)
            if kind == "link" { symlink("/etc/passwd", path) }
            if kind == "directory" { mkdir(path, 0o755) }
        }
        let report = try await store.verify(first.reference)
        #expect(report.damages.count == 1)
        #expect(report.damages.first?.hasPrefix("static/a.1.js: ") == true)
        try await store.stage(first)
        #expect(try await store.verify(first.reference).isIntact)
        #expect(try content("\(root)/assets/a.1.js") == "js1")
    }

    @Test
    func aDamagedActiveReleaseIsNotTouched() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        _ = try await store.activate(first.reference, generation: .init(rawValue: 1))
        unlink("\(store.filesDirectory(of: first.reference))/app.py")
        let before = try listing(root)
        let error = await failure { try await store.stage(first) }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains("app.py") == true)
        #expect(try listing(root) == before)
    }

    @Test
    func whatAnApplicationWroteIntoItsReleaseIsToldAndIsNoDamage() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        let files = store.filesDirectory(of: first.reference)
        mkdir("\(files)/lib/__pycache__", 0o755)
        try FileSystem().write([1], to: "\(files)/lib/__pycache__/same.pyc", mode: 0o644)
        let report = try await store.verify(first.reference)
        #expect(report.isIntact)
        #expect(report.unexpected == ["lib/__pycache__/same.pyc"])
    }

    @Test
    func assetsOfAllStagedReleasesAreInThePoolBeneathTheirPaths() async throws {
        let store = try ReleaseStore.at(root)
        try await store.stage(first)
        try await store.stage(second)
        #expect(try content("\(root)/assets/a.1.js") == "js1")
        #expect(try content("\(root)/assets/a.2.js") == "js2")
        #expect(try FileSystem().names(in: "\(root)/assets") == ["a.1.js", "a.2.js"])
    }

    @Test
    func aStagingKilledBeforeAnyChangeLeavesWhatWasThereAndARepeatCompletesIt() async throws {
        let whole = try TemporaryDirectory()
        let reference = try ReleaseStore.at("\(whole.path)/root")
        try await reference.stage(first)
        _ = try await reference.activate(first.reference, generation: .init(rawValue: 1))
        try await reference.stage(second)
        let expected = try listing("\(whole.path)/root")

        var step = 0
        while true {
            let directory = try TemporaryDirectory()
            let root = "\(directory.path)/root"
            let killer = Killer()
            let dying = try ReleaseStore.at(root, files: killer.files)
            try await dying.stage(first)
            _ = try await dying.activate(first.reference, generation: .init(rawValue: 1))
            killer.arm(after: step)
            let result = await Result { try await dying.stage(second) }
            if case .success = result { break }

            let store = try ReleaseStore.at(root)
            #expect(try await store.current()?.release == first.reference)
            #expect(try await store.verify(first.reference).isIntact, "\(killer.steps.last ?? "")")
            #expect(try content("\(root)/assets/a.1.js") == "js1")
            if try await store.isStaged(second.reference) {
                #expect(try await store.verify(second.reference).isIntact)
                // Whoever finds it there activates it, and pages of it ask for these.
                #expect(
                    (try? content("\(root)/assets/a.2.js")) == "js2", "\(killer.steps.last ?? "")")
            }
            try await store.stage(second)
            // Parts of what became needless may stay until the next pruning.
            let leftOut = Set(try FileSystem().names(in: "\(root)/staging").map { "staging/\($0)" })
            #expect(leftOut.allSatisfy { $0.hasSuffix(".blob") || $0.hasSuffix(".part") })
            #expect(
                try listing(root, leavingOut: leftOut) == expected, "\(killer.steps.last ?? "")")
            step += 1
        }
        #expect(step > 20)
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
