// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Glibc
import Testing
import TestSupport
import UpgradeModel

@testable import Releases

@Suite struct Bundles {
    let directory: TemporaryDirectory
    let name: ReleaseName

    init() throws {
        directory = try TemporaryDirectory()
        name = try #require(ReleaseName("v1"))
    }

    @Test
    func aBundleHasEveryFileOfItsDirectoryHiddenOnesTooWithDigestSizeAndMode() throws {
        let top = try directory.write(
            ["app.py": "app", ".hidden": "h", "x bin/start": "#!", "static/assets/a.1.js": "js"],
            under: "build")
        let bundle = try Bundle.read(directory: top + "/", name: name, assets: "static/assets/")
        #expect(
            bundle.manifest.entries.map(\.path.text) == [
                ".hidden", "app.py", "bin/start", "static/assets/a.1.js",
            ])
        #expect(bundle.manifest.entries.map(\.isExecutable) == [false, false, true, false])
        #expect(bundle.manifest.entries.map(\.size) == [1, 3, 2, 2])
        #expect(bundle.manifest.entries[1].digest == Digest.sha256(of: "app"))
        #expect(try content(bundle.file(of: bundle.manifest.entries[3])) == "js")
        #expect(bundle.warnings.isEmpty)
    }

    @Test
    func theSameFilesGiveTheSameReleaseWhereverAndWheneverTheyWereWritten() throws {
        let files = ["b": "2", "a/x": "1", "x c": "3"]
        let first = try Bundle.read(directory: try directory.write(files, under: "one"), name: name)
        let second = try Bundle.read(
            directory: try directory.write(files, under: "two"), name: name)
        #expect(first.manifest.reference == second.manifest.reference)
        var changed = files
        changed["b"] = "3"
        let third = try Bundle.read(
            directory: try directory.write(changed, under: "three"), name: name)
        #expect(third.manifest.reference != first.manifest.reference)
    }

    @Test
    func linksSocketsPipesSetuidFilesAndBadNamesAreAllFoundAtOnceEachWithWhatToDo() throws {
        let top = try directory.write(["ok": "1", "suid": "2"], under: "build")
        symlink("/etc/passwd", "\(top)/link")
        symlink("ok", "\(top)/inner")
        mkfifo("\(top)/pipe", 0o600)
        mknod("\(top)/socket", S_IFSOCK | 0o600, 0)
        chmod("\(top)/suid", 0o4755)
        try FileSystem().write([], to: "\(top)/line\nbreak", mode: 0o644)
        do {
            _ = try Bundle.read(directory: top, name: name)
            Issue.record("not refused")
        } catch {
            let findings = error.findings.map { "\($0.code) \($0.message)" }
            #expect(error.findings.count == 5)
            #expect(error.findings.allSatisfy { $0.advice != nil })
            for (code, file) in [
                ("bundle-link", "/link "), ("bundle-special", "/pipe "),
                ("bundle-special", "/socket "), ("bundle-mode", "/suid "),
                ("bundle-path", "line?break"),
            ] {
                #expect(
                    findings.contains { $0.hasPrefix(code) && $0.contains(file) }, "\(code) \(file)"
                )
            }
        }
    }

    @Test
    func namesThatAreNoTextAreToldOfBesideEachOtherAndBesideWhatIsWrongToo() throws {
        let top = try directory.write(["ok": "1", "sub/ok": "2"], under: "build")
        symlink("/etc/passwd", "\(top)/sub/link")
        for (place, byte) in [(top, 0xE9), (top, 0xFC), ("\(top)/sub", 0xE4)] as [(String, UInt8)] {
            let path = Array("\(place)/caf".utf8CString.dropLast()) + [CChar(bitPattern: byte), 0]
            close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644))
        }
        do {
            _ = try Bundle.read(directory: top, name: name)
            Issue.record("not refused")
        } catch {
            #expect(
                error.findings.map(\.code) == [
                    "bundle-path", "bundle-path", "bundle-path", "bundle-link",
                ])
            #expect(error.findings.allSatisfy { $0.advice != nil })
        }
    }

    @Test
    func anEmptyDirectoryIsAWarningBecauseItWillNotExistOnTheNodes() throws {
        let top = try directory.write(["ok": "1"], under: "build")
        mkdir("\(top)/uploads", 0o755)
        let bundle = try Bundle.read(directory: top, name: name)
        #expect(bundle.warnings.map(\.code) == ["bundle-empty-directory"])
        #expect(bundle.warnings.first?.message.contains("\(top)/uploads") == true)
    }

    @Test
    func anEmptyDirectoryIsToldOfBesideWhatIsWrongToo() throws {
        let top = try directory.write(["ok": "1"], under: "build")
        mkdir("\(top)/uploads", 0o755)
        symlink("/etc/passwd", "\(top)/link")
        do {
            _ = try Bundle.read(directory: top, name: name)
            Issue.record("not refused")
        } catch {
            #expect(error.findings.map(\.code) == ["bundle-link", "bundle-empty-directory"])
            #expect(error.findings.map(\.severity) == [.error, .warning])
        }
    }

    @Test(arguments: [
        ("absent", nil), ("file", nil), ("empty", nil), ("good", "static"), ("good", "../good"),
    ])
    func aDirectoryThatIsNoneIsEmptyOrLacksItsAssetsIsRefused(which: String, assets: String?) throws
    {
        _ = try directory.write(["file": "1"], under: ".")
        _ = try directory.write(["a": "1"], under: "good")
        mkdir("\(directory.path)/empty", 0o755)
        #expect(throws: Bundle.NotABundle.self) {
            try Bundle.read(directory: "\(directory.path)/\(which)", name: name, assets: assets)
        }
    }

    @Test
    func limitsHoldForBundlesToo() throws {
        let top = try directory.write(["a": "1", "b": "22", "c": "333"], under: "build")
        #expect(throws: Bundle.NotABundle.self) {
            try Bundle.read(directory: top, name: name, limits: .init(entries: 2))
        }
        #expect(throws: Bundle.NotABundle.self) {
            try Bundle.read(directory: top, name: name, limits: .init(totalSize: 5))
        }
    }
}
