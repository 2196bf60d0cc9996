// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Foundation
import TestSupport
import Testing
import UpgradeModel

@testable import Releases

/// What a real Python makes of the bytecode of a release that has come to a node.
@Suite struct BytecodeTests {
    private static let python = "/usr/bin/python3"
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// - Returns: all that it said.
    @discardableResult
    private func run(_ program: String, _ arguments: [String], in place: String) throws -> String {
        let output = "output.\(UInt32.random(in: 0 ... .max))"
        let process = try ChildProcess(
            [program] + arguments, output: "\(directory.path)/\(output)",
            environment: ["PATH": "/usr/bin:/bin"], directory: place)
        let status = process.wait()
        let said = try #require(directory.read(output))
        #expect(status == 0, "\(said)")
        return said
    }

    private func bundle(_ top: String) throws -> Releases.Bundle {
        try Releases.Bundle.read(directory: top, name: try #require(ReleaseName("v1")))
    }

    /// Stages it, and imports `shop.models` from where it then is.
    private func imported(_ bundle: Releases.Bundle) async throws -> String {
        let store = try ReleaseStore(
            .init(
                root: "\(directory.path)/node\(UInt32.random(in: 0 ... .max))",
                socketTemplate: "/run/test/{release}.sock"))
        var blobs: [Digest: [UInt8]] = [:]
        for entry in bundle.manifest.entries {
            blobs[entry.digest] = try FileSystem().read(bundle.file(of: entry), limit: 1 << 20)
        }
        try await store.stage(
            manifest: bundle.manifest.encoded, as: bundle.manifest.reference,
            from: MemorySource(blobs))
        let files = store.filesDirectory(of: bundle.manifest.reference)
        let said = try run(Self.python, ["-B", "-v", "-c", "import shop.models"], in: files)
        #expect(try await store.verify(bundle.manifest.reference).unexpected == [])
        return said
    }

    /// A checkout whose code has been run once, as by `manage.py collectstatic`; then the warning's own words, to the letter.
    @Test func theAdviceMakesBytecodeThatANodeUses() async throws {
        try #require(access(Self.python, X_OK) == 0, "scripts/install-dependencies installs it")
        let top = try directory.write(
            ["shop/__init__.py": "", "shop/models.py": "answer = 42\n"], under: "checkout")
        // A day ago, so that no node has the same time by chance.
        for name in ["__init__", "models"] {
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -86_400)],
                ofItemAtPath: "\(top)/shop/\(name).py")
        }
        try run(Self.python, ["-c", "import shop.models"], in: top)
        let stale = try bundle(top)
        let warning = try #require(stale.warnings.first { $0.code == "bundle-bytecode" })
        #expect(warning.message.hasPrefix("2 files of bytecode"))
        #expect(try await imported(stale).contains("bytecode is stale for 'shop.models'"))

        let advice = try #require(warning.advice)
        let command = advice.split(separator: "`")[1].split(separator: " ").map(String.init)
        #expect(command.first == "python3")
        try run(Self.python, Array(command.dropFirst()), in: "/")
        let fresh = try bundle(top)
        #expect(fresh.warnings == [])
        let said = try await imported(fresh)
        #expect(!said.contains("bytecode is stale"))
        let lines = said.split(separator: "\n")
        #expect(
            lines.contains {
                $0.hasPrefix("# code object from '") && $0.contains("shop/__pycache__/models.")
            }, "\(said)")
    }

    /// Without a source there is nothing whose time it could go by.
    @Test func bytecodeWithoutASourceIsUsedAsItIs() async throws {
        let top = try directory.write(
            ["shop/__init__.py": "", "shop/models.py": "answer = 42\n"], under: "checkout")
        try run(Self.python, ["-m", "compileall", "-q", "-b", top], in: "/")
        for name in ["__init__", "models"] {
            try FileManager.default.removeItem(atPath: "\(top)/shop/\(name).py")
        }
        let bundle = try bundle(top)
        #expect(bundle.warnings == [])
        #expect(try await imported(bundle).contains("shop/models.pyc'"))
    }
}
