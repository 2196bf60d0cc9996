// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Glibc
import Testing
import TestSupport
import UpgradeModel

@testable import Releases

/// Each bundle that must be refused, on a node that has a release staged and active: the disk is compared before and after.
@Suite struct HostileBundles {
    let directory: TemporaryDirectory
    let root: String
    let store: ReleaseStore
    let good: TestRelease
    let before: [String]

    init() async throws {
        directory = try TemporaryDirectory()
        root = "\(directory.path)/root"
        store = try ReleaseStore.at(root)
        good = try TestRelease(
            "v1", ["app": "one", "static/logo.svg": "old", "static/sub/x.js": "x"], assets: "static"
        )
        try await store.stage(good)
        _ = try await store.activate(good.reference, generation: .init(rawValue: 1))
        before = try listing(directory.path)
    }

    @Test(arguments: ManifestText.hostile.map(\.name))
    func aManifestAgainstTheRulesIsRefusedWithNothingChanged(name: String) async throws {
        let text = try #require(ManifestText.hostile.first { $0.name == name }?.text)
        let release = ReleaseReference(
            name: try #require(ReleaseName("v2")), manifest: Digest.sha256(of: text))
        let source = MemorySource([:])
        let error = await failure {
            try await store.stage(manifest: Array(text.utf8), as: release, from: source)
        }
        #expect(error?.code == .invalidManifest)
        #expect(source.calls.isEmpty)
        #expect(try listing(directory.path) == before)
    }

    @Test
    func aManifestOtherThanTheOneThatWasAnnouncedIsRefusedWithNothingChanged() async throws {
        let other = try TestRelease("v2", ["app": "two"])
        for release in [
            ReleaseReference(name: other.manifest.name, manifest: good.reference.manifest),
            ReleaseReference(name: good.manifest.name, manifest: other.reference.manifest),
        ] {
            let error = await failure {
                try await store.stage(
                    manifest: other.manifest.encoded, as: release, from: MemorySource(other.blobs))
            }
            #expect(error?.code == .wrongManifest)
        }
        #expect(try listing(directory.path) == before)
    }

    @Test(arguments: [
        "other bytes", "too many bytes", "size says more", "size says less", "not empty",
    ])
    func contentThatIsNotWhatTheManifestPromisesIsRefusedAndNothingOfItStays(kind: String)
        async throws
    {
        let right = Array("0123456789".utf8)
        let digest = Digest.sha256(of: right)
        let size: Int64 =
            switch kind {
            case "size says more": 12
            case "size says less": 8
            case "not empty": 0
            default: 10
            }
        let served: [UInt8] =
            switch kind {
            case "other bytes": Array("012345678X".utf8)
            case "too many bytes": right + [0]
            default: right
            }
        let fine = Array("fine".utf8)
        let manifest = try BundleManifest(
            name: try #require(ReleaseName("v2")),
            entries: [
                .init(path: try BundlePath("a"), digest: Digest.sha256(of: fine), size: 4),
                .init(path: try BundlePath("b"), digest: digest, size: size),
            ])
        let error = await failure {
            try await store.stage(
                manifest: manifest.encoded, as: manifest.reference,
                from: MemorySource([digest: served, Digest.sha256(of: fine): fine]))
        }
        #expect(error?.code == .wrongContent)
        #expect(error?.message.contains("b is refused") == true)
        #expect(try listing(directory.path) == before)
    }

    @Test
    func assetsWhoseDigestStandsForAnotherContentAreRefusedAllAtOnce() async throws {
        try await store.stage(
            try TestRelease(
                "v2", ["static/a.0123abcd.js": "1", "static/b-89abcdef.css": "1"], assets: "static")
        )
        let before = try listing(directory.path)
        let release = try TestRelease(
            "v3", ["static/a.0123abcd.js": "2", "static/b-89abcdef.css": "2"], assets: "static")
        let source = MemorySource(release.blobs)
        let error = await failure { try await store.stage(release, from: source) }
        #expect(error?.code == .assetConflict)
        #expect(error?.message.contains("2 assets of v3") == true)
        #expect(error?.message.contains("a.0123abcd.js (as in v2") == true)
        #expect(error?.message.contains("b-89abcdef.css") == true)
        #expect(source.calls.isEmpty)
        #expect(try listing(directory.path) == before)
    }

    /// Sprockets writes the time of the build into compressed copies, webpack the places of sources into maps.
    @Test(arguments: ["gz", "br", "zst", "map", "map.gz"])
    func aCopyOrAMapMayDifferWhereWhatItIsMadeFromIsTheSame(ending: String) async throws {
        let (same, changed) = ("static/a-0123abcd.css", "static/b-89abcdef.css")
        try await store.stage(
            try TestRelease(
                "v2", [same: "a", "\(same).\(ending)": "at nine", changed: "b"], assets: "static"))
        try await store.stage(
            try TestRelease(
                "v3", [same: "a", "\(same).\(ending)": "at ten", changed: "b"], assets: "static"))
        #expect(
            try ReleasesTests.content("\(root)/assets/a-0123abcd.css.\(ending)") == "at nine")
        let error = await failure {
            try await store.stage(
                try TestRelease("v4", [same: "c", "\(same).\(ending)": "c"], assets: "static"))
        }
        #expect(error?.message.contains("2 assets of v4") == true)
    }

    @Test(arguments: ["static/logo.svg", "static/sub", "static/logo.svg/deep"])
    func anAssetWithoutADigestIsTheReleasesOwnItTakesNoOtherReleasesNameInThePool(path: String)
        async throws
    {
        try await store.stage(
            try TestRelease(
                "v2", [path: "new", "static/app.0123abcd.js": "js", "app": "two"], assets: "static")
        )
        #expect(try ReleasesTests.content("\(root)/assets/logo.svg") == "old")
        #expect(try ReleasesTests.content("\(root)/assets/app.0123abcd.js") == "js")
        #expect(try FileSystem().status("\(root)/assets/sub")?.kind == .directory)
    }

    @Test
    func anAssetOfTheSameNameAndContentOrAFileOutsideTheAssetsIsNoConflict() async throws {
        try await store.stage(
            try TestRelease("v2", ["static/logo.svg": "old", "app": "two"], assets: "static"))
        try await store.stage(try TestRelease("v3", ["static/logo.svg": "new"]))
    }

    @Test
    func aDiskWithoutRoomRefusesWithNothingChanged() async throws {
        let full = try ReleaseStore(
            .init(root: root, socketTemplate: "/run/test/{release}.sock", reservedBytes: 1 << 60))
        let release = try TestRelease("v2", ["app": "two"])
        let error = await failure { try await full.stage(release) }
        #expect(error?.code == .noSpace)
        #expect(error?.message.contains(root) == true)
        #expect(error?.message.contains("`sluice-agent prune --keep 2`") == true)
        #expect(try listing(directory.path) == before)
    }

    @Test
    func aSocketPathThatNoSocketCanHaveIsRefusedWithNothingChanged() async throws {
        let long = try ReleaseStore(
            .init(
                root: root,
                socketTemplate: "/run/\(String(repeating: "d", count: 90))/{release}.sock",
                reservedBytes: 0))
        let error = await failure { try await long.stage(try TestRelease("v2", ["app": "two"])) }
        #expect(error?.message.contains("107") == true)
        #expect(try listing(directory.path) == before)
    }

    @Test(arguments: ["outside", "x"])
    func aLinkPlantedWhereABlobIsFetchedToIsRemovedNotFollowed(target: String) async throws {
        let release = try TestRelease("v2", ["app": "two"])
        let outside = "\(directory.path)/\(target)"
        try FileSystem().write(Array("precious".utf8), to: outside, mode: 0o644)
        symlink(
            target == "x" ? "../../x" : outside, "\(root)/staging/\(Digest.sha256(of: "two")).part")
        try await store.stage(release)
        #expect(
            try String(decoding: FileSystem().read(outside, limit: 100), as: UTF8.self)
                == "precious")
        #expect(try await store.verify(release.reference).isIntact)
    }
}
