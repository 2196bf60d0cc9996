// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc
public import UpgradeModel

/// The releases of a node: staged beside one another, one of them active.
///
/// Runs on a thread of its own, because it blocks on the disk. Each method may be killed at any instruction and called again:
/// nothing is cleaned up on the way out, what an earlier call left is cleaned up on the way in. One store per root at a time.
public actor ReleaseStore {
    public struct Configuration: Hashable, Sendable {
        /// Absolute; made when its parent is there. Everything beneath it belongs to the store.
        public var root: String
        /// The socket of a release's application, with `{release}` for ``UpgradeModel/ReleaseReference/identifier``.
        public var socketTemplate: String
        public var limits: BundleManifest.SizeLimits
        /// Paths in a release that lead to `shared` beneath the root instead.
        public var shared: [BundlePath]
        /// Bytes that must be left on the disk when everything has been fetched.
        public var reservedBytes: Int64
        /// Blobs fetched at once.
        public var parallelFetches: Int

        public init(
            root: String, socketTemplate: String = "/run/sluice/app/{release}.sock",
            limits: BundleManifest.SizeLimits = BundleManifest.SizeLimits(),
            shared: [BundlePath] = [],
            reservedBytes: Int64 = 64 << 20,
            parallelFetches: Int = 4
        ) {
            self.root = root
            self.socketTemplate = socketTemplate
            self.limits = limits
            self.shared = shared
            self.reservedBytes = reservedBytes
            self.parallelFetches = parallelFetches
        }
    }

    nonisolated let configuration: Configuration
    nonisolated let layout: ReleaseLayout
    nonisolated let files: FileSystem
    /// True while `stage` waits for blobs; nothing may be removed meanwhile.
    var isStaging = false
    /// Blobs whose content this process has verified.
    var verifiedBlobs: Set<Digest> = []

    private let executor = QueueExecutor(label: "releases")
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// Makes the directories that are missing. Blocks for a few system calls.
    public init(_ configuration: Configuration) throws(ReleaseFailure) {
        try self.init(configuration, files: FileSystem())
    }

    init(_ configuration: Configuration, files: FileSystem) throws(ReleaseFailure) {
        guard configuration.root.hasPrefix("/"), configuration.socketTemplate.hasPrefix("/") else {
            throw ReleaseFailure(
                .fileSystem,
                "the releases' root \(configuration.root) and socket \(configuration.socketTemplate) must be "
                    + "absolute paths")
        }
        self.configuration = configuration
        self.files = files
        layout = ReleaseLayout(root: configuration.root)
        for directory in [layout.root, layout.releases, layout.activations, layout.assets] {
            try files.makeDirectory(directory, mode: 0o755)
        }
        try files.makeDirectory(layout.staging, mode: 0o700)
    }

    /// Where the files of a release are, staged or not: the working directory of its application.
    public nonisolated func filesDirectory(of release: ReleaseReference) -> String {
        layout.files(release.identifier)
    }

    /// Where the application of a release listens.
    public nonisolated func socketPath(of release: ReleaseReference) -> String {
        guard let range = configuration.socketTemplate.firstRange(of: "{release}") else {
            return configuration.socketTemplate
        }
        return configuration.socketTemplate.replacingCharacters(in: range, with: release.identifier)
    }

    /// The releases that are complete on this node, by identifier.
    public func staged() throws(ReleaseFailure) -> [ReleaseReference] {
        var references: [ReleaseReference] = []
        for identifier in try files.names(in: layout.releases) {
            if let reference = try reference(of: identifier) { references.append(reference) }
        }
        return references
    }

    /// Whether a release is complete on this node. Its files are not read; ``verify(_:)`` reads them.
    public func isStaged(_ release: ReleaseReference) throws(ReleaseFailure) -> Bool {
        try reference(of: release.identifier) == release
    }

    /// The manifest of a staged release.
    public func manifest(of release: ReleaseReference) throws(ReleaseFailure) -> BundleManifest {
        guard let manifest = try manifest(named: release.identifier),
            manifest.reference == release.on(nil)
        else {
            throw notStaged(release)
        }
        return manifest
    }

    func notStaged(_ release: ReleaseReference) -> ReleaseFailure {
        ReleaseFailure(
            .notStaged, "the release \(release.identifier) is not on this node; stage it first")
    }

    /// `nil` for a directory that is no release, or one of whose manifest is not what its name says.
    func reference(of identifier: String) throws(ReleaseFailure) -> ReleaseReference? {
        let path = layout.manifest(identifier)
        guard let parts = ReleaseIdentifier(identifier), try files.status(path)?.kind == .file
        else { return nil }
        let reference = ReleaseReference(
            name: parts.name, manifest: try files.digest(path).digest, database: parts.database)
        return reference.identifier == identifier ? reference : nil
    }

    /// `nil` as with `reference(of:)`, and for a manifest that does not parse.
    func manifest(named identifier: String) throws(ReleaseFailure) -> BundleManifest? {
        let path = layout.manifest(identifier)
        guard try files.status(path)?.kind == .file else { return nil }
        let bytes = try files.read(path, limit: configuration.limits.encodedSize)
        do throws(ReleaseFailure) {
            let manifest = try BundleManifest(parsing: bytes, limits: configuration.limits)
            let database = ReleaseIdentifier(identifier)?.database
            return manifest.reference.on(database).identifier == identifier ? manifest : nil
        } catch { return nil }
    }

    /// The manifests of all staged releases, one at a time, because each may be large.
    func forEachStaged(
        _ body: (String, BundleManifest) throws(ReleaseFailure) -> Void
    ) throws(ReleaseFailure) {
        for identifier in try files.names(in: layout.releases) {
            if let manifest = try manifest(named: identifier) { try body(identifier, manifest) }
        }
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<String.Index>, with text: String) -> String
    {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}
