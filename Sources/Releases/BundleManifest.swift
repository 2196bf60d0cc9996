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

    /// What a manifest from a stranger may ask for.
    public struct Limits: Hashable, Sendable {
        public var entries: Int
        /// Of all files together, in bytes.
        public var totalSize: Int64
        /// Of the manifest itself, in bytes.
        public var encodedSize: Int

        public init(entries: Int = 100_000, totalSize: Int64 = 8 << 30, encodedSize: Int = 64 << 20)
        {
            self.entries = entries
            self.totalSize = totalSize
            self.encodedSize = encodedSize
        }
    }

    public let name: ReleaseName
    /// By path, bytewise ascending.
    public let entries: [Entry]
    /// The directory whose files go to browsers under names that change with their content, such as `static/assets`.
    public let assets: BundlePath?
    /// Of all entries together, in bytes.
    public let totalSize: Int64

    /// - Parameter entries: in any order.
    /// - Throws: ``ReleaseFailure/Code/invalidManifest`` with the first rule that is broken.
    public init(
        name: ReleaseName, entries: [Entry], assets: BundlePath? = nil, limits: Limits = Limits()
    ) throws(ReleaseFailure) {
        self.name = name
        self.entries = entries.sorted { $0.path < $1.path }
        self.assets = assets
        guard !entries.isEmpty else { throw BundleManifest.refused("it names no file") }
        guard entries.count <= limits.entries else {
            throw BundleManifest.refused(
                "it has \(entries.count) entries, the limit is \(limits.entries)")
        }
        totalSize = try BundleManifest.totalSize(of: self.entries, limits)
        try BundleManifest.checkPaths(self.entries)
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

    private static func totalSize(of entries: [Entry], _ limits: Limits) throws(ReleaseFailure)
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

    private static func checkPaths(_ entries: [Entry]) throws(ReleaseFailure) {
        let files = Set(entries.map(\.path))
        if files.count != entries.count,
            let pair = zip(entries, entries.dropFirst()).first(where: { $0.path == $1.path })
        {
            throw refused("\(pair.0.path) is there twice")
        }
        var directories: Set<BundlePath> = []
        for entry in entries {
            var directory = entry.path.parent
            while let path = directory, directories.insert(path).inserted {
                guard !files.contains(path) else {
                    throw refused("\(path) is a file and also the directory of \(entry.path)")
                }
                directory = path.parent
            }
        }
    }

    static func refused(_ reason: String) -> ReleaseFailure {
        ReleaseFailure(.invalidManifest, "the bundle's manifest is refused: \(reason)")
    }
}
