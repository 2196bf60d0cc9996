// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport
import Testing
import UpgradeModel

@testable import Releases

/// What Capistrano, Deployer and their like have left on a machine, as it is found.
@Suite struct DeployedReleaseTests {
    let directory: TemporaryDirectory
    var root: String { "\(directory.path)/shop" }

    init() throws { directory = try TemporaryDirectory() }

    private func tree(_ tool: DeployedTree.Tool = .capistrano, isAbsolute: Bool = true) throws
        -> DeployedTree
    { try DeployedTree(tool, isAbsolute: isAbsolute, at: root) }

    private func findings(_ what: String) -> String {
        do throws(Bundle.NotABundle) {
            let found = try DeployedRelease(under: what)
            return "found \(found.directory)"
        } catch { return error.description }
    }

    @Test(arguments: DeployedTree.Tool.allCases, [true, false])
    func whatIsServedAndWhatItSharesIsFound(_ tool: DeployedTree.Tool, _ isAbsolute: Bool) throws {
        let tree = try tree(tool, isAbsolute: isAbsolute)
        let found = try DeployedRelease(under: root + "/")
        #expect(found.tool == tool.rawValue && found.isServed)
        #expect(found.directory == tree.release && found.servedName == tree.served)
        #expect(found.shared.map(\.path.text) == tree.shared)
        #expect(found.shared.map(\.target) == tree.shared.map { "\(root)/shared/\($0)" })
        // By the tool's name for the release; all other links are fine as they are.
        #expect(found.targets == [try BundlePath("public/app"): "../build"])
        #expect(found.leftOut == [])
        #expect(found.warnings.map(\.code).allSatisfy { $0 == "adopt-half-made" })
        #expect(found.warnings.count == (tool == .capistrano ? 1 : 2))
        // All of it is a bundle then.
        let bundle = try Bundle.read(
            directory: found.directory, name: try #require(ReleaseName("v1")),
            leavingOut: found.shared.map(\.path), linking: found.targets)
        let links = Dictionary(
            uniqueKeysWithValues: bundle.manifest.links.map { ($0.path.text, $0.target) })
        #expect(
            links == [
                "public/app": "../build", "public/up": "..", "ring-1": "ring-2",
                "ring-2": "ring-1", "python3": "/usr/bin/python3",
            ])
        #expect(
            bundle.manifest.entries.map(\.path.text) == [
                "app.txt", "bin/start", "build/app.js", "public/index.html",
            ])
        let app = try FileSystem().read(bundle.file(of: bundle.manifest.entries[0]), limit: 100)
        #expect(
            String(decoding: app, as: UTF8.self) == "of \(tree.served.split(separator: "/")[1])")
    }

    @Test func whateverLeadsOutOfTheReleaseIsShared() throws {
        let tree = try tree()
        try tree.write("1", to: "../etc/shop.yml")
        try tree.link("\(tree.served)/config.yml", to: "../../../etc/shop.yml")
        try tree.link("\(tree.served)/logs", to: "../../shared/log")
        try tree.link("\(tree.served)/perl", to: "../../../../../usr/bin/perl")
        let found = try DeployedRelease(under: root)
        let shared = Dictionary(
            uniqueKeysWithValues: found.shared.map { ($0.path.text, $0.target) })
        #expect(shared["config.yml"] == "\(directory.path)/etc/shop.yml")
        #expect(shared["logs"] == "\(root)/shared/log")
        #expect(shared["perl"] == nil)
    }

    @Test func whatLeadsNowhereAndWhatIsNoFileIsLeftOut() throws {
        let tree = try tree()
        try tree.link("\(tree.served)/gone", to: "../../shared/gone")
        try tree.link("shared/ring", to: "ring")
        try tree.link("\(tree.served)/ring", to: "\(root)/shared/ring")
        try tree.write("", to: "\(tree.served)/tmp/pid")
        try #require(mkfifo("\(tree.release)/tmp/queue", 0o600) == 0)
        let found = try DeployedRelease(under: root)
        #expect(found.leftOut.map(\.text).sorted() == ["gone", "ring", "tmp/queue"])
        let links = found.warnings.filter { $0.code == "adopt-link" }
        #expect(links.count == 2)
        #expect(links.allSatisfy { $0.message.contains("where nothing is") })
    }

    @Test func aLinkIntoAnotherReleaseIsRefused() throws {
        let tree = try tree()
        try tree.link("\(tree.served)/old", to: "../20260101120000/build")
        #expect(findings(root).contains("leads into another release, \(root)/releases/2026010112"))
    }

    @Test func whatAnApplicationMayWriteAndWhatAllReleasesDependOnIsSaid() throws {
        let tree = try tree()
        try tree.write("{}", to: "\(tree.served)/bootstrap/cache/a.php")
        try #require(chmod("\(tree.release)/bootstrap/cache", 0o777) == 0)
        try tree.write("1", to: "shared/node_modules/a/index.js")
        try tree.link("\(tree.served)/node_modules", to: "../../shared/node_modules")
        let codes = { (found: DeployedRelease) in Set(found.warnings.map(\.code)) }
        let found = try DeployedRelease(under: root)
        #expect(codes(found).isSuperset(of: ["adopt-writable", "adopt-dependencies"]))
        #expect(found.warnings.contains { $0.message.contains("write in bootstrap/cache,") })
        let path = try BundlePath("bootstrap/cache")
        let told = try DeployedRelease(under: root, sharing: [path])
        #expect(!codes(told).contains("adopt-writable"))
    }

    @Test(arguments: [
        "missing", "absent", "directory", "circle", "nothing", "ours", "kamal", "lock",
    ])
    func whatCannotBeTakenOverIsRefusedWithWhatLeadsOn(_ what: String) throws {
        let tree = try tree(what == "lock" ? .deployer : .capistrano)
        if !["missing", "kamal", "lock"].contains(what) {
            try #require(unlink("\(root)/current") == 0)
        }
        var words = "--bundle DIRECTORY"
        switch what {
        case "missing": words = "is no directory"
        case "directory": try tree.write("1", to: "current/app.txt")
        case "circle":
            try tree.link("current", to: "current")
            words = "round in a circle"
        case "nothing":
            try tree.link("current", to: "releases/9")
            words = "no release is"
        case "ours":
            try tree.link("current", to: "activations/1-v1.3f786850e387")
            words = "upgrade it with a plan"
        case "kamal":
            try tree.write("web", to: ".kamal/apps/shop/env/roles/web.env")
            words = "--version-name"
        case "lock":
            try tree.write("deploy", to: ".dep/deploy.lock")
            words = "dep deploy:unlock"
        default: break
        }
        let said = findings(what == "missing" ? root + "/nowhere" : root)
        #expect(said.contains(words), "\(said)")
    }

    @Test func aReleaseThatIsServedNoMoreIsNoticed() throws {
        let tree = try tree()
        let found = try DeployedRelease(under: root)
        try #require(unlink("\(root)/current") == 0)
        try tree.link("current", to: "releases/20260301120000")
        #expect(!found.isServed)
    }
}
