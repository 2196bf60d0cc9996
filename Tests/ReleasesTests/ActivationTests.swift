// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing
import TestSupport
import UpgradeModel

@testable import Releases

@Suite struct Activations {
    let directory: TemporaryDirectory
    let root: String
    let store: ReleaseStore
    let releases: [TestRelease]

    init() async throws {
        directory = try TemporaryDirectory()
        root = "\(directory.path)/root"
        store = try ReleaseStore.at(root)
        releases = try (1...4).map {
            try TestRelease(
                "v\($0)",
                ["app": "app \($0)", "common": "c", "s/a.\($0).js": "\($0)", "s/c.js": "c"],
                assets: "s")
        }
        for release in releases { try await store.stage(release) }
    }

    @Test
    func anActivationShowsTheReleasesFilesItsSocketAndItsRecordThroughCurrent() async throws {
        #expect(try await store.nextGeneration().rawValue == 1)
        let activation = try await store.activate(
            releases[0].reference, generation: .init(rawValue: 1))
        #expect(try await store.current() == activation)
        #expect(try content("\(root)/current/files/app") == "app 1")
        let socket = "/run/test/\(releases[0].reference.identifier).sock"
        #expect(try FileSystem().target(ofLink: "\(root)/current/app.sock") == socket)
        #expect(store.socketPath(of: releases[0].reference) == socket)
        #expect(
            try content("\(root)/current/release")
                == "sluice-activation 1\ngeneration 1\nrelease v1\nmanifest \(releases[0].reference.manifest)\n"
        )
        #expect(try await store.nextGeneration().rawValue == 2)
    }

    @Test
    func aRepeatedActivationChangesNothingBackAndForthTakesANewGenerationEach() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        _ = try await store.activate(releases[1].reference, generation: .init(rawValue: 2))
        let before = try listing(root)
        _ = try await store.activate(releases[1].reference, generation: .init(rawValue: 2))
        #expect(try listing(root) == before)
        let back = try await store.activate(releases[0].reference, generation: .init(rawValue: 3))
        #expect(try await store.current() == back)
        #expect(try content("\(root)/current/files/app") == "app 1")
        #expect(try await store.isFlippedBack(from: releases[1].reference))
        #expect(try await !store.isFlippedBack(from: releases[0].reference))
        _ = try await store.activate(releases[2].reference, generation: .init(rawValue: 4))
        #expect(try await !store.isFlippedBack(from: releases[0].reference))
    }

    @Test
    func aPreparedActivationChangesWhatCurrentShowsOnlyWhenItIsActivated() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        _ = try await store.prepareActivation(releases[1].reference, generation: .init(rawValue: 2))
        #expect(try await store.current()?.generation.rawValue == 1)
        _ = try await store.activate(releases[1].reference, generation: .init(rawValue: 2))
        #expect(try await store.current()?.generation.rawValue == 2)
    }

    @Test
    func aGenerationIsNeverUsedForTwoReleasesAndNeverGoesBack() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 5))
        let before = try listing(root)
        for (release, generation) in [(1, 5), (1, 4), (0, 4), (1, 0), (1, -1)] as [(Int, Int64)] {
            let error = await failure {
                _ = try await store.activate(
                    releases[release].reference, generation: .init(rawValue: generation))
            }
            #expect(error?.code == .staleGeneration)
        }
        #expect(try listing(root) == before)
    }

    @Test
    func aReleaseThatIsNotStagedOrWhoseManifestWasChangedIsNotActivated() async throws {
        let other = try TestRelease("v9", ["app": "9"])
        #expect(
            await failure {
                _ = try await store.activate(other.reference, generation: .init(rawValue: 1))
            }?.code == .notStaged)
        let manifest = "\(root)/releases/\(releases[0].reference.identifier)/manifest"
        chmod(manifest, 0o644)
        try FileSystem().write(Array("x".utf8), to: manifest, mode: 0o444)
        let error = await failure {
            _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        }
        #expect(error?.code == .notStaged)
        #expect(try await store.current() == nil)
    }

    @Test
    func aCurrentThatIsNotTheStoresOwnIsReportedNotFollowed() async throws {
        symlink("/etc", "\(root)/current")
        let error = await failure { _ = try await store.current() }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains("\(root)/current") == true)
    }

    @Test
    func aFlipKilledBeforeAnyChangeLeavesOneActivationAndARepeatCompletesIt() async throws {
        var sawNew = false
        var step = 0
        while true {
            let directory = try TemporaryDirectory()
            let root = "\(directory.path)/root"
            let killer = Killer()
            let dying = try ReleaseStore.at(root, files: killer.files)
            for release in releases.prefix(2) { try await dying.stage(release) }
            _ = try await dying.activate(releases[0].reference, generation: .init(rawValue: 1))
            killer.arm(after: step)
            let result = await Result {
                try await dying.activate(releases[1].reference, generation: .init(rawValue: 2))
            }
            if case .success = result { break }

            let store = try ReleaseStore.at(root)
            let after = try #require(try await store.current())
            sawNew = sawNew || after.generation.rawValue == 2
            #expect([1, 2].contains(after.generation.rawValue))
            #expect(after.release == releases[Int(after.generation.rawValue) - 1].reference)
            #expect(try content("\(root)/current/files/app") == "app \(after.generation.rawValue)")
            #expect(try await store.nextGeneration().rawValue >= 2)
            _ = try await store.activate(releases[1].reference, generation: .init(rawValue: 2))
            #expect(try await store.current()?.generation.rawValue == 2)
            #expect(try content("\(root)/current/files/app") == "app 2")
            step += 1
        }
        #expect(step >= 10)
        #expect(sawNew)
    }

    @Test
    func pruningKeepsTheActiveTheProtectedAndTheLastActivatedWithTheirAssets() async throws {
        for (index, release) in releases.prefix(3).enumerated() {
            _ = try await store.activate(
                release.reference, generation: .init(rawValue: Int64(index + 1)))
        }
        let pruning = try await store.prune(keeping: 2, protecting: [releases[3].reference])
        #expect(pruning == Pruning(releases: [releases[0].reference], activations: 1, assets: 1))
        #expect(try await store.staged() == releases[1...].map(\.reference))
        #expect(
            try FileSystem().names(in: "\(root)/assets") == ["a.2.js", "a.3.js", "a.4.js", "c.js"])
        #expect(try await store.current()?.release == releases[2].reference)
        #expect(try FileSystem().names(in: "\(root)/staging").isEmpty)
        let rest = try await store.prune(keeping: 1)
        #expect(rest.releases == [releases[1].reference, releases[3].reference])
        #expect(try FileSystem().names(in: "\(root)/assets") == ["a.3.js", "c.js"])
        #expect(try await store.nextGeneration().rawValue == 4)
        #expect(try await store.verify(releases[2].reference).isIntact)
        #expect(try await store.prune(keeping: 0) == Pruning())
    }

    @Test
    func beforeTheFirstActivationNoReleaseIsPruned() async throws {
        #expect(try await store.prune(keeping: 1) == Pruning())
        #expect(try await store.staged().count == 4)
    }

    @Test
    func theActiveReleaseComesFirstEvenWhenOthersWereActivatedLaterAndRolledBack() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        _ = try await store.activate(releases[1].reference, generation: .init(rawValue: 2))
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 3))
        _ = try await store.prune(keeping: 1)
        #expect(try await store.staged() == [releases[0].reference])
        #expect(try await store.nextGeneration().rawValue == 4)
    }

    @Test
    func theNumberOfAnActivationThatWasPreparedAndNeverFlippedIsNotUsedAgain() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        try await store.prepareActivation(releases[1].reference, generation: .init(rawValue: 2))
        _ = try await store.prune(keeping: 1)
        #expect(try await store.staged() == [releases[0].reference])
        #expect(try await store.nextGeneration().rawValue == 3)
    }

    @Test
    func removingTakesAReleaseAndItsOwnAssetsAwayNeverTheActiveOne() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        try await store.remove(releases[1].reference)
        try await store.remove(releases[1].reference)
        #expect(
            try FileSystem().names(in: "\(root)/assets") == ["a.1.js", "a.3.js", "a.4.js", "c.js"])
        #expect(await failure { try await store.remove(releases[0].reference) }?.code == .active)
    }

    @Test
    func aReleaseGoesWithTheActivationThatWasPreparedForItAndWithThoseItHad() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        _ = try await store.activate(releases[1].reference, generation: .init(rawValue: 2))
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 3))
        try await store.prepareActivation(releases[1].reference, generation: .init(rawValue: 4))
        try await store.remove(releases[1].reference)
        #expect(
            try FileSystem().names(in: "\(root)/activations")
                == [1, 3].map { "\($0)-\(releases[0].reference.identifier)" })
        #expect(try await store.current()?.generation.rawValue == 3)
        #expect(try await store.nextGeneration().rawValue == 4, "no number below the active one")
    }

    @Test
    func killedBeforeAnyChangeOfARemovalARepeatCompletesIt() async throws {
        var step = 0
        while true {
            let directory = try TemporaryDirectory()
            let root = "\(directory.path)/root"
            let killer = Killer()
            let dying = try ReleaseStore.at(root, files: killer.files)
            for release in releases { try await dying.stage(release) }
            _ = try await dying.activate(releases[0].reference, generation: .init(rawValue: 1))
            try await dying.prepareActivation(releases[1].reference, generation: .init(rawValue: 2))
            killer.arm(after: step)
            if case .success = await Result({ try await dying.remove(releases[1].reference) }) {
                break
            }
            let store = try ReleaseStore.at(root)
            // As a node does, which asks for the removal only while the release is there.
            if try await store.isStaged(releases[1].reference) {
                try await store.remove(releases[1].reference)
            }
            #expect(
                try FileSystem().names(in: "\(root)/activations")
                    == ["1-\(releases[0].reference.identifier)"], "\(killer.steps.last ?? "")")
            #expect(try await store.staged().count == 3)
            step += 1
        }
        #expect(step > 5)
    }

    @Test
    func assetsAreNotPrunedWhileAReleasesManifestCannotBeRead() async throws {
        _ = try await store.activate(releases[0].reference, generation: .init(rawValue: 1))
        unlink("\(root)/releases/\(releases[0].reference.identifier)/manifest")
        let before = try listing("\(root)/assets")
        #expect(await failure { _ = try await store.prune(keeping: 1) }?.code == .damaged)
        #expect(try listing("\(root)/assets") == before)
    }

    @Test
    func killedBeforeAnyChangeOfAPruningWhatIsKeptIsIntactAndARepeatCompletesIt() async throws {
        func prepare(_ root: String, _ files: FileSystem) async throws -> ReleaseStore {
            let store = try ReleaseStore.at(root, files: files)
            for (index, release) in releases.enumerated() {
                try await store.stage(release)
                _ = try await store.activate(
                    release.reference, generation: .init(rawValue: Int64(index + 1)))
            }
            return store
        }
        let whole = try TemporaryDirectory()
        _ = try await prepare("\(whole.path)/root", FileSystem()).prune(keeping: 2)
        let expected = try listing("\(whole.path)/root")

        var step = 0
        while true {
            let directory = try TemporaryDirectory()
            let root = "\(directory.path)/root"
            let killer = Killer()
            let dying = try await prepare(root, killer.files)
            killer.arm(after: step)
            if case .success = await Result({ try await dying.prune(keeping: 2) }) { break }

            let store = try ReleaseStore.at(root)
            #expect(try await store.current()?.release == releases[3].reference)
            for release in releases[2...] {
                #expect(try await store.verify(release.reference).isIntact)
                for (path, entry) in release.manifest.assetEntries {
                    #expect(
                        try FileSystem().digest("\(root)/assets/\(path)").digest == entry.digest)
                }
            }
            _ = try await store.prune(keeping: 2)
            #expect(try listing(root) == expected, "\(killer.steps.last ?? "")")
            step += 1
        }
        #expect(step > 10)
    }
}
