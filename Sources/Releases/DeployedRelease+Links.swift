// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// Where the links of a release lead that another tool has deployed.
extension DeployedRelease {
    /// Names of directories in which applications keep what they are made of.
    private static let dependencies: Set<String> = [
        "node_modules", "vendor", "bundle", "venv", ".venv", "site-packages",
    ]

    mutating func readLinks(_ problems: inout [Diagnostic]) throws(ReleaseFailure) {
        var writable: [BundlePath] = []
        try readLinks(in: nil, &writable, &problems)
        shared.sort { $0.path < $1.path }
        for entry in shared {
            guard let name = entry.path.text.split(separator: "/").last,
                DeployedRelease.dependencies.contains(String(name))
            else { continue }
            warn(
                "dependencies",
                "all releases share their dependencies in \(entry.path): what a new one installs there the old one gets too",
                "let your bundles bring their own, and then take it out of `application.shared`")
        }
        guard !writable.isEmpty else { return }
        warn(
            "writable",
            "the application may write in \(writable.prefix(10).map(\.text).joined(separator: ", "))"
                + (writable.count > 10 ? " and \(writable.count - 10) more" : "")
                + ", which is its release's alone",
            "files of a release are read-only here: name what has to last under `application.shared`, and let the rest go elsewhere"
        )
    }

    private mutating func readLinks(
        in parent: BundlePath?, _ writable: inout [BundlePath], _ problems: inout [Diagnostic]
    ) throws(ReleaseFailure) {
        let location = parent.map { "\(directory)/\($0)" } ?? directory
        for name in try files.names(in: location) {
            // What cannot be a path of a bundle is said when the bundle is read.
            guard let path = try? BundlePath(parent.map { "\($0)/\(name)" } ?? name),
                !ownPaths.contains(where: { path.relative(to: $0) != nil }),
                let status = try files.status("\(directory)/\(path)")
            else { continue }
            switch status.kind {
            case .file: break
            case .link: try read(path, &problems)
            case .other:
                leftOut.append(path)
            case .directory:
                if !ownPaths.contains(path), try isForOthers(status) { writable.append(path) }
                try readLinks(in: path, &writable, &problems)
            }
        }
    }

    /// Whether somebody may write to a directory who may not write to the release.
    private func isForOthers(_ status: FileSystem.Status) throws(ReleaseFailure) -> Bool {
        guard let top = try files.status(directory) else { return false }
        return status.owner != top.owner || status.mode & ~top.mode & 0o022 != 0
    }

    private mutating func read(
        _ path: BundlePath, _ problems: inout [Diagnostic]
    ) throws(ReleaseFailure) {
        let location = "\(directory)/\(path)"
        guard let said = try files.target(ofLink: location) else { return }
        let there = DeployedRelease.absolute(
            said, in: path.parent.map { "\(directory)/\($0)" } ?? directory)
        let real = files.resolved(location)
        // What the link says, unless a link on the way makes its `..` lead elsewhere.
        let target = real == nil || files.resolved(there) == real ? there : real ?? there
        if let rest = rest(of: target) ?? real.flatMap({ rest(of: $0) }) {
            let isFine =
                !said.utf8.starts(with: "/".utf8)
                && BundleManifest.problem(with: said, of: path) == nil
            if !isFine { targets[path] = DeployedRelease.relative(rest, from: path) }
            return
        }
        let isTheTools = [target, real ?? target].contains { $0.hasPrefix(root + "/") }
        if !isTheTools, BundleManifest.problem(with: target, of: path) == nil {
            // To what each node has itself, from wherever the release lies.
            if said != target { targets[path] = target }
            return
        }
        guard let real else {
            leftOut.append(path)
            return warn(
                "link", "the link \(location) leads to \(shown(said)), where nothing is",
                "it is left out")
        }
        guard !real.hasPrefix("\(root)/releases/") else {
            problems.append(
                Diagnostic(
                    .error, code: "adopt-link",
                    "the link \(location) leads into another release, \(real), which the tool removes some day",
                    advice: "put a copy there, or let it lead into \(root)/shared"))
            return
        }
        shared.append(Shared(path: path, target: target))
    }

    /// What is left of a path in this release, without a slash at its beginning; `nil` when it leads elsewhere.
    private func rest(of path: String) -> String? {
        for name in names {
            if path == name { return "" }
            if path.hasPrefix(name + "/") { return String(path.dropFirst(name.count + 1)) }
        }
        return nil
    }

    /// A link within the release, from the directory that it stands in.
    private static func relative(_ rest: String, from path: BundlePath) -> String {
        let up = path.parents.map { _ in ".." }
        let parts = up + (rest.isEmpty ? [] : [rest])
        return parts.isEmpty ? "." : parts.joined(separator: "/")
    }

    /// A path in a directory as it is written, its `.` and `..` taken out.
    static func absolute(_ path: String, in directory: String) -> String {
        var parts: [Substring] = []
        let whole = path.hasPrefix("/") ? path : "\(directory)/\(path)"
        for part in whole.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}
