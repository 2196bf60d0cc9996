// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Glibc
import TestSupport
import Testing
import UpgradeModel

@testable import Releases

/// Bundles as package managers make them, and what a node has itself.
@Suite struct LinkTests {
    let directory: TemporaryDirectory
    var root: String { "\(directory.path)/app" }

    init() throws { directory = try TemporaryDirectory() }

    private func bundle(
        _ files: [String: String], _ links: [String: String], leavingOut shared: [BundlePath] = []
    ) throws -> Bundle {
        let top = try directory.write(files, under: "bundle")
        for (path, target) in links {
            var parent = ""
            for part in path.split(separator: "/").dropLast() {
                parent += "/\(part)"
                mkdir(top + parent, 0o755)
            }
            try #require(symlink(target, "\(top)/\(path)") == 0)
        }
        return try Bundle.read(
            directory: top, name: try #require(ReleaseName("v1")), leavingOut: shared)
    }

    private func store(sharing shared: [BundlePath] = []) throws -> ReleaseStore {
        try ReleaseStore(
            .init(root: root, socketTemplate: "/run/test/{release}.sock", shared: shared))
    }

    private func stage(_ bundle: Bundle, _ store: ReleaseStore) async throws {
        var blobs: [Digest: [UInt8]] = [:]
        for entry in bundle.manifest.entries {
            blobs[entry.digest] = try FileSystem().read(bundle.file(of: entry), limit: 1 << 20)
        }
        try await store.stage(
            manifest: bundle.manifest.encoded, as: bundle.manifest.reference,
            from: MemorySource(blobs))
    }

    private func target(_ path: String, of bundle: Bundle) throws -> String? {
        let files = "\(root)/releases/\(bundle.manifest.reference.identifier)/files"
        return try FileSystem().target(ofLink: "\(files)/\(path)")
    }

    @Test
    func aVenvAPnpmStoreAndACycleComeToANodeAsTheyAre() async throws {
        let links = [
            "venv/bin/python3": "/usr/bin/python3", "venv/bin/python": "python3",
            "venv/lib64": "lib",
            "node_modules/a": ".pnpm/a@1/node_modules/a",
            "node_modules/.pnpm/a@1/node_modules/b": "../../b@1/node_modules/b",
            "node_modules/.pnpm/b@1/node_modules/a": "../../a@1/node_modules/a",
            "node_modules/self": "..", "a file with spaces -> x": "venv/lib/a b.py",
        ]
        let bundle = try bundle(
            [
                "venv/lib/a b.py": "1", "node_modules/.pnpm/a@1/node_modules/a/index.js": "a",
                "node_modules/.pnpm/b@1/node_modules/b/index.js": "b",
            ], links)
        #expect(bundle.warnings == [])
        let again = try BundleManifest(parsing: bundle.manifest.encoded)
        #expect(again == bundle.manifest && again.links.count == links.count)
        #expect(
            String(decoding: bundle.manifest.encoded, as: UTF8.self).hasPrefix("sluice-bundle 2\n"))
        let store = try store()
        try await stage(bundle, store)
        for (path, wanted) in links { #expect(try target(path, of: bundle) == wanted) }
        #expect(try await store.verify(bundle.manifest.reference).isIntact)
        #expect(try await store.verify(bundle.manifest.reference).unexpected == [])
    }

    @Test
    func aChangedLinkIsADamage() async throws {
        let bundle = try bundle(["lib/a": "1", "other/a": "2"], ["current": "lib"])
        let store = try store()
        try await stage(bundle, store)
        let link = "\(root)/releases/\(bundle.manifest.reference.identifier)/files/current"
        try #require(unlink(link) == 0 && symlink("other", link) == 0)
        #expect(
            try await store.verify(bundle.manifest.reference).damages
                == ["current: it is not the link that it was"])
    }

    @Test(arguments: [
        "../outside", "/home/deploy/uploads", "a/../../..", "/usr/../etc/shadow", "lib/../lib",
    ])
    func aLinkThatLeadsOutOfTheBundleIsAFindingWithWhatToDo(target: String) throws {
        let error = #expect(throws: Bundle.NotABundle.self) {
            try bundle(["lib/a": "1"], ["uploads": target])
        }
        #expect(error?.findings.first?.code == "bundle-link")
        #expect(error?.description.contains("application.shared") == true)
    }

    @Test(arguments: ["nowhere", "link"])
    func aLinkToNothingAndOneToItselfAreWarnings(target: String) throws {
        let bundle = try bundle(["a": "1"], ["link": target])
        #expect(bundle.warnings.map(\.code) == ["bundle-link"])
    }

    @Test(arguments: [
        "l 3 lib d\nf DIGEST 1 d/a", "l 5 ../.. x", "l 4 /etc x", "l 9 a/../../b x",
        "l 1 a x\nl 1 b x",
        "l 0  x", "l 99 a x", "l 3 a\tb x", "l 1 a ../x", "l 1 a x/y\nl 1 b x",
    ])
    func aHostileManifestCannotWriteThroughALinkNorOutOfTheRelease(lines: String) throws {
        let digest = Digest.sha256(of: "1".utf8).description
        let body = lines.replacing("DIGEST", with: digest).split(separator: "\n")
        let files = body.filter { $0.hasPrefix("f ") }
        let text =
            "sluice-bundle 2\nrelease v1\nassets\nentries \(body.count + 1)\nsize \(1 + files.count)\n"
            + "f \(digest) 1 a\n" + files.map { "\($0)\n" }.joined()
            + body.filter { $0.hasPrefix("l ") }.map { "\($0)\n" }.joined()
        #expect(throws: ReleaseFailure.self) { try BundleManifest(parsing: Array(text.utf8)) }
    }

    @Test
    func pathsThatLieTooDeepAndTooManyDirectoriesAreRefusedBeforeTheyCostMemory() throws {
        let deep = (0...64).map { "d\($0)" }.joined(separator: "/")
        #expect(throws: BundlePath.Reason.self) { try BundlePath(deep + "/f") }
        #expect(throws: Never.self) { try BundlePath(deep) }
        let entries = try (0..<10).map {
            BundleManifest.Entry(
                path: try BundlePath("\($0)/a/b/c"), digest: Digest.sha256(of: "1".utf8), size: 1)
        }
        let error = #expect(throws: ReleaseFailure.self) {
            try BundleManifest(
                name: try #require(ReleaseName("v1")), entries: entries,
                limits: .init(directories: 20))
        }
        #expect(error?.message.contains("more than 20 directories") == true)
    }

    // MARK: - Shared paths

    @Test
    func whatANodeSharesIsALinkInEachReleaseWhateverTheBundleHasThere() async throws {
        let shared = [try BundlePath("public/uploads"), try BundlePath(".env")]
        let bundle = try bundle(["app": "1", "public/uploads/.gitkeep": "", "public/a": "a"], [:])
        let store = try store(sharing: shared)
        let error = await failure { try await stage(bundle, store) }
        #expect(error?.message.contains("\(root)/shared/public/uploads is not there") == true)
        for path in ["shared", "shared/public", "shared/public/uploads"] {
            mkdir("\(root)/\(path)", 0o755)
        }
        try directory.write("SECRET=1", to: "app/shared/.env")
        try await stage(bundle, store)
        #expect(try target("public/uploads", of: bundle) == "\(root)/shared/public/uploads")
        #expect(try target(".env", of: bundle) == "\(root)/shared/.env")
        let report = try await store.verify(bundle.manifest.reference)
        #expect(report.isIntact && report.unexpected == [])
        _ = try await store.activate(
            bundle.manifest.reference, generation: try await store.nextGeneration())
        _ = try await store.prune(keeping: 1)
        #expect(directory.read("app/shared/.env") == "SECRET=1")
    }

    @Test
    func whatIsLeftOutOfABundleIsNotLookedAt() throws {
        let bundle = try bundle(
            ["app": "1"], ["log": "/var/www/shared/log"], leavingOut: [try BundlePath("log")])
        #expect(bundle.manifest.links == [])
    }

    // MARK: - Warnings

    @Test(arguments: [
        ".env", "config/master.key", "deploy/id_rsa", ".env.production", ".git/config",
    ])
    func whatLooksLikeASecretIsAWarning(path: String) throws {
        let bundle = try bundle([path: "x"], [:])
        #expect(bundle.warnings.map(\.code) == ["bundle-secret"])
    }

    @Test
    func bytecodeThatGoesByTimesIsAWarningAndThatWhichDoesNotIsNone() throws {
        let bytes = String(repeating: "\u{1}", count: 4)
        let zeros = String(repeating: "\u{0}", count: 4)
        let rest = String(repeating: "x", count: 16)
        #expect(
            try bundle(
                [
                    "__pycache__/a.pyc": bytes + zeros + rest,
                    "b/__pycache__/b.pyc": bytes + zeros + rest,
                ],
                [:]
            )
            .warnings.map { $0.message.prefix(19) } == ["2 files of bytecode"])
        let fine = ["__pycache__/a.pyc": bytes + bytes + rest, "a.pyc": bytes + zeros + rest]
        #expect(try LinkTests().bundle(fine, [:]).warnings == [])
    }

    @Test(arguments: [
        ("css/site.55e7cbb9ba48.css", true), ("app-3f78abcd.js", true),
        ("main.a1b2c3d4e5f6a7b8.chunk.js", true), ("site.css", false),
        ("staticfiles.json", false), ("report-20260101.pdf", false), ("feedback.js", false),
        ("defaced-cafe.js", false),
    ])
    func namesCarryADigestAsBundlersMakeThem(path: String, carries: Bool) throws {
        #expect(try BundlePath(path).carriesDigest == carries)
    }
}
