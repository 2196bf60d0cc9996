// SPDX-License-Identifier: Apache-2.0

internal import ContentDigest
public import UpgradeModel

/// What a release consists of: every file with its digest. A value that cannot name anything outside the release.
///
/// Its canonical encoding is the release's identity: two bundles with the same files, name and assets directory are the same
/// release, wherever they were read.
public struct BundleManifest: Hashable, Sendable {
    public struct Entry: Hashable, Sendable {
        public var path: BundlePath
        public var digest: Digest
        /// In bytes.
        public var size: Int64
        public var isExecutable: Bool

        public init(path: BundlePath, digest: Digest, size: Int64, isExecutable: Bool = false) {
            self.path = path
            self.digest = digest
            self.size = size
            self.isExecutable = isExecutable
        }
    }

    /// A symbolic link. It leads to something in the release, or to what each node has itself.
    public struct Link: Hashable, Sendable {
        public var path: BundlePath
        /// As readlink(2) says it.
        public var target: String

        public init(path: BundlePath, target: String) {
            self.path = path
            self.target = target
        }
    }

    /// What a manifest from a stranger may ask for.
    public struct SizeLimits: Hashable, Sendable {
        public var entries: Int
        /// Directories that its files lie in.
        public var directories: Int
        /// Of all files together, in bytes.
        public var totalSize: Int64
        /// Of the manifest itself, in bytes.
        public var encodedSize: Int

        public init(
            entries: Int = 100_000, directories: Int = 100_000, totalSize: Int64 = 8 << 30,
            encodedSize: Int = 64 << 20
        ) {
            self.entries = entries
            self.directories = directories
            self.totalSize = totalSize
            self.encodedSize = encodedSize
        }
    }

    public let name: ReleaseName
    /// By path, bytewise ascending.
    public let entries: [Entry]
    /// By path, bytewise ascending.
    public let links: [Link]
    /// The directory whose files go to browsers under names that change with their content, such as `static/assets`.
    public let assets: BundlePath?
    /// Of all entries together, in bytes.
    public let totalSize: Int64

    /// - Parameter entries: in any order.
    /// - Throws: ``ReleaseFailure/Code/invalidManifest`` with the first rule that is broken.
    public init(
        name: ReleaseName, entries: [Entry], links: [Link] = [], assets: BundlePath? = nil,
        limits: SizeLimits = SizeLimits()
    ) throws(ReleaseFailure) {
        self.name = name
        self.entries = entries.sorted { $0.path < $1.path }
        self.links = links.sorted { $0.path < $1.path }
        self.assets = assets
        guard !entries.isEmpty else { throw BundleManifest.refused("it names no file") }
        guard entries.count + links.count <= limits.entries else {
            throw BundleManifest.refused(
                "it has \(entries.count + links.count) entries, the limit is \(limits.entries)")
        }
        totalSize = try BundleManifest.totalSize(of: self.entries, limits)
        try BundleManifest.checkPaths(self.entries, self.links, limits)
        for link in self.links { try BundleManifest.check(link) }
        if let assets, !entries.contains(where: { $0.path.relative(to: assets) != nil }) {
            throw BundleManifest.refused("no file lies in its assets directory \(assets)")
        }
    }

    public var reference: ReleaseReference {
        ReleaseReference(name: name, manifest: Digest.sha256(of: encoded))
    }

    /// The entries of the assets directory, each with its path beneath that directory.
    public var assetEntries: [(path: BundlePath, entry: Entry)] {
        guard let assets else { return [] }
        return entries.compactMap { entry in entry.path.relative(to: assets).map { ($0, entry) } }
    }

    /// One entry for each different content, in the order of the paths.
    public var distinctEntries: [Entry] {
        var seen: Set<Digest> = []
        return entries.filter { seen.insert($0.digest).inserted }
    }

    private static func totalSize(of entries: [Entry], _ limits: SizeLimits) throws(ReleaseFailure)
        -> Int64
    {
        var total: Int64 = 0
        var sizes: [Digest: Int64] = [:]
        for entry in entries {
            let (sum, overflow) = total.addingReportingOverflow(entry.size)
            guard entry.size >= 0, !overflow, sum <= limits.totalSize else {
                throw refused(
                    "its files have more than \(limits.totalSize) bytes in all, which is the limit")
            }
            total = sum
            guard sizes.updateValue(entry.size, forKey: entry.digest) ?? entry.size == entry.size
            else {
                throw refused("\(entry.path) has the digest of a file of another size")
            }
        }
        return total
    }

    /// No name is there twice, none is a file and a directory, and nothing lies beneath a link: so a path never leads through one.
    ///
    /// The entries are sorted, so that the directories which two neighbours share are looked at once; the others are counted.
    private static func checkPaths(
        _ entries: [Entry], _ links: [Link], _ limits: SizeLimits
    ) throws(ReleaseFailure) {
        let paths = entries.map(\.path) + links.map(\.path)
        let names = Set(paths)
        if names.count != paths.count {
            var seen: Set<BundlePath> = []
            let twice = paths.first { !seen.insert($0).inserted }
            throw refused("\(twice?.text ?? "a path") is there twice")
        }
        var directories: Set<BundlePath> = []
        for path in paths {
            var directory = path.parent
            while let above = directory, directories.insert(above).inserted {
                guard !names.contains(above) else {
                    throw refused("\(above) is a file or a link and also the directory of \(path)")
                }
                guard directories.count <= limits.directories else {
                    throw refused("it has more than \(limits.directories) directories")
                }
                directory = above.parent
            }
        }
    }

    /// Where a link may lead that does not stay in the release: to programs and libraries that each node has.
    static let systemDirectories = ["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/"]

    /// Why a target is none that a link of a release may have, as the end of the sentence "the link … "; `nil` when it is one.
    ///
    /// `..` may only stand at its beginning: after a name it could mean the parent of wherever another link leads to. Nothing lies
    /// beneath a link, so the directory of this one is a real one, and what its `..` lead to is known.
    static func problem(with target: String, of path: BundlePath) -> String? {
        guard !target.isEmpty, target.utf8.count <= BundlePath.maximumBytes,
            target.utf8.allSatisfy({ $0 >= 32 && $0 != 127 })
        else { return "leads to an empty, long or unprintable name" }
        let parts = target.utf8.split(separator: 47).map { Substring($0) }
        if target.utf8.first == 47 {
            guard !parts.contains(".."), systemDirectories.contains(where: target.hasPrefix) else {
                return "leads out of the bundle, to \(shown(target))"
            }
            return nil
        }
        let up = parts.prefix { $0 == ".." || $0 == "." }
        guard !parts.dropFirst(up.count).contains("..") else {
            return "leads to \(shown(target)), with .. after a name"
        }
        guard up.count(where: { $0 == ".." }) <= path.parents.count else {
            return "leads out of the bundle, to \(shown(target))"
        }
        return nil
    }

    private static func check(_ link: Link) throws(ReleaseFailure) {
        if let problem = problem(with: link.target, of: link.path) {
            throw refused("the link \(link.path) \(problem)")
        }
    }

    static func refused(_ reason: String) -> ReleaseFailure {
        ReleaseFailure(.invalidManifest, "the bundle's manifest is refused: \(reason)")
    }
}
