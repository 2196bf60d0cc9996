// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Testing
import UpgradeModel

@testable import Releases

private let golden = """
    sluice-bundle 1
    release v2
    assets static/assets
    entries 3
    size 18
    f 9c43f94b3ebf5b8d7d7fbc8db0ceec1a8da9fd1b1c7ae3b2e0e3d6ebbb5d6a10 6 app.py
    x 9c43f94b3ebf5b8d7d7fbc8db0ceec1a8da9fd1b1c7ae3b2e0e3d6ebbb5d6a10 6 bin/start
    f 9c43f94b3ebf5b8d7d7fbc8db0ceec1a8da9fd1b1c7ae3b2e0e3d6ebbb5d6a10 6 static/assets/app.9c43.css

    """
private let digest = "9c43f94b3ebf5b8d7d7fbc8db0ceec1a8da9fd1b1c7ae3b2e0e3d6ebbb5d6a10"

@Suite struct ManifestText {
    @Test
    func theStoredFormOfVersion1IsReadForEverAndWrittenTheSame() throws {
        let manifest = try BundleManifest(parsing: Array(golden.utf8))
        #expect(manifest.name.rawValue == "v2")
        #expect(manifest.assets?.text == "static/assets")
        #expect(
            manifest.entries.map(\.path.text) == [
                "app.py", "bin/start", "static/assets/app.9c43.css",
            ])
        #expect(manifest.entries.map(\.isExecutable) == [false, true, false])
        #expect(manifest.totalSize == 18)
        #expect(String(decoding: manifest.encoded, as: UTF8.self) == golden)
        #expect(manifest.assetEntries.map(\.path.text) == ["app.9c43.css"])
        #expect(
            manifest.reference.manifest.hexadecimal
                == "0121de72b425d20d7ee5f2452ca7281753642c91ab9092c6a9ae04b9b4cf1d18")
    }

    @Test
    func theOrderInWhichEntriesAreGivenDoesNotMatter() throws {
        let manifest = try BundleManifest(parsing: Array(golden.utf8))
        let again = try BundleManifest(
            name: manifest.name, entries: manifest.entries.reversed(), assets: manifest.assets)
        #expect(again == manifest)
        #expect(again.reference == manifest.reference)
    }

    /// Each is a manifest that nobody may make a release of, with a word of the reason.
    static let hostile: [(name: String, text: String, reason: String)] = {
        func one(_ path: String) -> String { with(["f \(digest) 6 \(path)"]) }
        func with(_ lines: [String], count: Int? = nil, size: Int? = nil, assets: String = "assets")
            -> String
        {
            "sluice-bundle 1\nrelease v2\n\(assets)\nentries \(count ?? lines.count)\n"
                + "size \(size ?? 6 * lines.count)\n" + lines.map { $0 + "\n" }.joined()
        }
        let good = "f \(digest) 6 a"
        return [
            ("absolute path", one("/etc/passwd"), "absolute"), ("parent", one("../x"), ".."),
            ("parent within", one("a/../../x"), ".."), ("parent at the end", one("a/.."), ".."),
            ("dot", one("./a"), ". or .."), ("empty component", one("a//b"), "empty component"),
            ("slash at the end", one("a/"), "empty component"), ("empty path", one(""), "is empty"),
            ("zero byte", one("a\0b"), "control character"),
            ("carriage return", one("a\rb"), "control character"),
            ("long path", one(String(repeating: "a/", count: 256) + "b"), "512"),
            ("long component", one(String(repeating: "a", count: 256)), "255"),
            ("duplicate", with([good, good]), "twice"),
            (
                "file and directory", with([good, "f \(digest) 6 a-b", "f \(digest) 6 a/b"]),
                "directory of a/b"
            ),
            ("unsorted", with(["f \(digest) 6 b", good]), "canonical"),
            ("negative size", with(["f \(digest) -6 a"]), "size is not a number"),
            ("plus sign", with(["f \(digest) +6 a"]), "canonical"),
            ("leading zero", with(["f \(digest) 06 a"]), "canonical"),
            (
                "size overflow",
                with(["f \(digest) 9223372036854775807 a", "f \(digest) 9223372036854775807 b"]),
                "bytes in all"
            ),
            ("oversize", with(["f \(digest) 8589934593 a"], size: 8_589_934_593), "limit"),
            ("wrong total", with([good], size: 7), "7 bytes in all"),
            ("two sizes of one digest", with([good, "f \(digest) 7 b"], size: 13), "another size"),
            ("bad digest", with(["f \(digest.dropLast()) 6 a"]), "hexadecimal"),
            ("upper-case digest", with(["f \(digest.uppercased()) 6 a"]), "hexadecimal"),
            ("link", with(["l \(digest) 6 a"]), "bytes of a target"),
            ("device", with(["c \(digest) 6 a"]), "\"f\" or \"x\""),
            ("cut off", with([good], count: 2), "cut off"),
            ("more than it says", with([good, "f \(digest) 6 b"], count: 1, size: 6), "canonical"),
            ("too many entries", with([good], count: 100_001), "100000"),
            ("no entries", with([]), "no file"),
            ("other version", with([good]).replacing("bundle 1", with: "bundle 3"), "newer"),
            (
                "version without need",
                with([good]).replacing("bundle 1", with: "bundle 2"), "canonical"
            ),
            (
                "unsafe name", with([good]).replacing("release v2", with: "release ../v2"),
                "release name"
            ),
            ("assets outside", with([good], assets: "assets ../a"), ".."),
            ("no assets there", with([good], assets: "assets static"), "no file lies in"),
            ("no line end", String(with([good]).dropLast()), "cut off"),
            ("nothing", "", "first line"),
            ("CRLF", with([good]).replacing("\n", with: "\r\n"), "first line"),
        ]
    }()

    @Test(arguments: hostile.map(\.name))
    func aHostileManifestIsRefusedWithItsReason(name: String) async throws {
        let hostile = try #require(ManifestText.hostile.first { $0.name == name })
        let error = await failure { _ = try BundleManifest(parsing: Array(hostile.text.utf8)) }
        #expect(error?.code == .invalidManifest)
        #expect(error?.message.contains(hostile.reason) == true, "\(error?.message ?? "")")
        #expect(error?.message.utf8.allSatisfy { $0 >= 32 } == true)
    }

    @Test
    func bytesThatAreNotUTF8AndTooManyOfThemAreRefused() async {
        let error = await failure { _ = try BundleManifest(parsing: [0xff, 0xfe]) }
        #expect(error?.message.contains("UTF-8") == true)
        let long = await failure {
            _ = try BundleManifest(parsing: Array(golden.utf8), limits: .init(encodedSize: 100))
        }
        #expect(long?.message.contains("limit is 100") == true)
    }

    @Test
    func namesThatDifferOnlyInUnicodeFormAreTwoFilesAsOnDisk() throws {
        let composed = try BundlePath("caf\u{e9}")
        let decomposed = try BundlePath("cafe\u{301}")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
    }

    @Test
    func aHundredThousandEntriesAreReadBack() throws {
        let one = try #require(Digest(digest))
        let entries = try (0..<100_000).map {
            BundleManifest.Entry(path: try BundlePath("d\($0 % 100)/\($0)"), digest: one, size: 6)
        }
        let manifest = try BundleManifest(name: try #require(ReleaseName("big")), entries: entries)
        #expect(try BundleManifest(parsing: manifest.encoded) == manifest)
    }
}
