// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The release that another deploy tool serves on this machine, as Capistrano, Deployer and their like lay it out: `current` is a
/// link to one of `releases`, whose links lead to `shared`.
///
/// It is looked at and never changed: the tool goes on as if nobody had looked.
public struct DeployedRelease: Sendable {
    /// What the tool's releases have in common: each has a link to it.
    public struct Shared: Hashable, Sendable {
        /// In the release.
        public let path: BundlePath
        /// Where the link leads: absolute.
        public let target: String
    }

    /// For people.
    public let tool: String
    /// The tool's directory, without links.
    public let root: String
    /// The release that is served, without links.
    public let directory: String
    /// By path, bytewise ascending.
    public internal(set) var shared: [Shared] = []
    /// What links of the release are to say in the bundle, where they name it by a path of the tool's.
    public internal(set) var targets: [BundlePath: String] = [:]
    /// What is not taken over: sockets, pipes, links that lead to nothing outside.
    public internal(set) var leftOut: [BundlePath] = []
    /// What a person should know, and what stops nothing.
    public internal(set) var warnings: [Diagnostic] = []

    let files: FileSystem
    /// Paths of the node itself, which are no business of the release.
    let ownPaths: [BundlePath]
    /// By which paths the tool, and its links, name the release.
    let names: [String]

    /// Finds the tool, what it serves, and every link of that release. Blocks for as long as listing the release takes.
    ///
    /// - Parameters:
    ///   - root: the tool's directory, with `current` in it.
    ///   - ownPaths: what the node shares already: nothing is said of it.
    /// - Throws: ``Bundle/NotABundle`` with every reason why nothing can be taken over from there.
    public init(under root: String, sharing ownPaths: [BundlePath] = []) throws(Bundle.NotABundle) {
        files = FileSystem()
        self.ownPaths = ownPaths
        guard let top = files.resolved(root + "/.") else {
            throw DeployedRelease.refusal(
                "missing", "\(root) is no directory", "give the one that `current` is in")
        }
        self.root = top
        let (served, said) = try DeployedRelease.served(in: top, files)
        directory = served
        names = [
            served, "\(top)/current", "\(root)/current", DeployedRelease.absolute(said, in: top),
        ]
        tool = DeployedRelease.tool(at: top, files)
        var problems: [Diagnostic] = []
        do throws(ReleaseFailure) {
            try readLinks(&problems)
            try warnOfOthers()
        } catch {
            problems.append(Diagnostic(.error, code: "adopt-unreadable", error.message))
        }
        guard problems.isEmpty else { throw Bundle.NotABundle(findings: problems + warnings) }
    }

    /// Whether `current` still leads to this release.
    public var isServed: Bool { files.resolved("\(root)/current") == directory }

    /// The release's name in the tool's directory, or its path when it lies elsewhere.
    public var servedName: String {
        directory.hasPrefix(root + "/")
            ? String(directory.dropFirst(root.utf8.count + 1)) : directory
    }

    // MARK: - The tool

    private static func served(
        in root: String, _ files: FileSystem
    ) throws(Bundle.NotABundle) -> (directory: String, said: String) {
        if files.isReachable("\(root)/.kamal") || root.hasSuffix("/.kamal") {
            throw refusal(
                "containers",
                "\(root) is Kamal's: its releases are container images, so there are no files of them to take over",
                "let actions of the node switch images (docs/versions.md, From Kamal), and name the one that runs with --version-name"
            )
        }
        if files.isReachable("\(root)/.dep/deploy.lock") {
            throw refusal(
                "deploying", "Deployer is at work: \(root)/.dep/deploy.lock is there",
                "wait until it has ended, or `dep deploy:unlock` when it has died")
        }
        return try current(in: root, files)
    }

    private static func current(
        in root: String, _ files: FileSystem
    ) throws(Bundle.NotABundle) -> (directory: String, said: String) {
        let link = "\(root)/current"
        var kind: FileSystem.Kind?
        var said: String?
        do throws(ReleaseFailure) {
            kind = try files.status(link)?.kind
            if kind == .link { said = try files.target(ofLink: link) }
        } catch { throw refusal("unreadable", error.message, "run as a user who may read it") }
        guard let said else {
            throw refusal(
                "current",
                kind == nil ? "\(link) is not there" : "\(link) is no link to a release",
                "name the directory of what is served now: --bundle DIRECTORY instead of --from")
        }
        guard !said.hasPrefix("activations/") else {
            throw refusal("current", "\(root) is Sluice's own already", "upgrade it with a plan")
        }
        guard let directory = files.resolved(link + "/."), directory != root else {
            throw refusal(
                "current",
                "\(link) leads to \(shown(said)), where no release is, or round in a circle",
                "let it lead to the release that is served")
        }
        return (directory, said)
    }

    private static func tool(at root: String, _ files: FileSystem) -> String {
        if files.isReachable("\(root)/.dep") { return "Deployer" }
        if files.isReachable("\(root)/revisions.log") || files.isReachable("\(root)/repo") {
            return "Capistrano"
        }
        return "a tool such as Capistrano"
    }

    static func refusal(
        _ code: String, _ message: String, _ advice: String
    ) -> Bundle.NotABundle {
        Bundle.NotABundle(findings: [
            Diagnostic(.error, code: "adopt-\(code)", message, advice: advice)
        ])
    }

    // MARK: - Its other releases

    /// A release that was begun and is not served is nobody's; whoever expects it to be taken over should hear that it is not.
    private mutating func warnOfOthers() throws(ReleaseFailure) {
        guard let served = try files.status(directory) else { return }
        if try files.status("\(root)/release") != nil {
            warn(
                "half-made", "\(root)/release is there: a deploy was begun and not ended",
                "what is served is taken over, and nothing of that one")
        }
        guard directory.hasPrefix("\(root)/releases/") else { return }
        var newer: [String] = []
        for name in try files.names(in: "\(root)/releases") {
            let path = "\(root)/releases/\(name)"
            guard let other = try files.status(path), other.kind == .directory, path != directory,
                DeployedRelease.number(name) > DeployedRelease.number(servedName)
                    || other.modified > served.modified && DeployedRelease.number(name) == 0
            else { continue }
            newer.append(name)
        }
        guard !newer.isEmpty else { return }
        warn(
            "half-made",
            "\(newer.prefix(10).joined(separator: ", ")) of \(root)/releases came after \(servedName), which is served",
            "what is served is taken over, and nothing of the others")
    }

    /// Timestamps and counters alike; 0 for a name that is neither.
    private static func number(_ name: String) -> Int64 {
        Int64(name.split(separator: "/").last ?? "") ?? 0
    }

    mutating func warn(_ code: String, _ message: String, _ advice: String) {
        guard warnings.count < 100 else { return }
        warnings.append(Diagnostic(.warning, code: "adopt-\(code)", message, advice: advice))
    }
}
