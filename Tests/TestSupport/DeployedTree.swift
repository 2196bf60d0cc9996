// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A directory as another deploy tool leaves it on a node: an old release, the one that is served, and one that was begun and never
/// ended.
public struct DeployedTree: Sendable {
    public enum Tool: String, Sendable, CaseIterable {
        case capistrano = "Capistrano"
        case deployer = "Deployer"
    }

    public let root: String
    public let tool: Tool
    /// The release that is served, beneath the root.
    public var served: String { "releases/\(tool == .capistrano ? "20260201120000" : "2")" }
    public var release: String { "\(root)/\(served)" }
    /// What the tool shares, by path in a release.
    public let shared = [".env", "log", "public/uploads"]

    /// - Parameter isAbsolute: whether its links are, as Capistrano's are by default and Deployer's are not.
    public init(_ tool: Tool, isAbsolute: Bool, at root: String) throws {
        self.root = root
        self.tool = tool
        try write("SECRET=1\n", to: "shared/.env")
        try write("one line\n", to: "shared/log/production.log")
        try write("picture", to: "shared/public/uploads/cat.png")
        let names = tool == .capistrano ? ["20260101120000", "20260201120000"] : ["1", "2"]
        for name in names { try makeRelease(name, isAbsolute: isAbsolute) }
        let half = tool == .capistrano ? "20260301120000" : "3"
        try write("half", to: "releases/\(half)/app.txt")
        switch tool {
        case .capistrano:
            try write("ref: refs/heads/main\n", to: "repo/HEAD")
            try write("Branch main deployed as release 20260201120000\n", to: "revisions.log")
        case .deployer:
            try write("3\n", to: ".dep/latest_release")
            try write("{\"release_name\":\"3\"}\n", to: ".dep/releases_log")
            try link("release", to: "releases/3")
        }
        try link("current", to: isAbsolute ? release : served)
    }

    private func makeRelease(_ name: String, isAbsolute: Bool) throws {
        let top = "releases/\(name)"
        try write("of \(name)", to: "\(top)/app.txt")
        try write("#!/bin/sh\n", to: "\(top)/bin/start")
        chmod("\(root)/\(top)/bin/start", 0o755)
        try write("built", to: "\(top)/build/app.js")
        try write("page", to: "\(top)/public/index.html")
        try link("\(top)/public/app", to: "\(root)/current/build")
        try link("\(top)/public/up", to: "..")
        try link("\(top)/ring-1", to: "ring-2")
        try link("\(top)/ring-2", to: "ring-1")
        try link("\(top)/python3", to: "/usr/bin/python3")
        for path in shared {
            let up = String(
                repeating: "../", count: 2 + path.split(separator: "/").count - 1)
            try link("\(top)/\(path)", to: "\(isAbsolute ? root + "/" : up)shared/\(path)")
        }
    }

    public func write(_ text: String, to path: String) throws {
        try makeParent(of: path)
        try text.write(toFile: "\(root)/\(path)", atomically: false, encoding: .utf8)
    }

    public func link(_ path: String, to target: String) throws {
        try makeParent(of: path)
        try FileManager.default.createSymbolicLink(
            atPath: "\(root)/\(path)", withDestinationPath: target)
    }

    private func makeParent(of path: String) throws {
        try FileManager.default.createDirectory(
            atPath: ("\(root)/\(path)" as NSString).deletingLastPathComponent,
            withIntermediateDirectories: true)
    }

    /// Everything that is there, with all that somebody who touched it would have changed.
    public func snapshot() throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: root).sorted().map { path in
            var status = stat()
            guard lstat("\(root)/\(path)", &status) == 0 else {
                throw TestSupportFailure(errno: "lstat \(path)")
            }
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "\(root)/\(path)")
            return "\(path) \(status.st_mode) \(status.st_ino) \(status.st_nlink) \(status.st_size)"
                + " \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec) \(target ?? "")"
        }
    }
}
