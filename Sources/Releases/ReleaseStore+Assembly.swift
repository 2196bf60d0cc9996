// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import UpgradeModel

extension ReleaseStore {
    /// Builds the release in a private directory.
    ///
    /// - Parameter copies: for each content, files that have it.
    /// - Returns: the directory.
    func assemble(
        _ manifest: BundleManifest, _ copies: [Digest: [String]]
    ) throws(ReleaseFailure) -> String {
        let top = layout.assembly(manifest.reference.identifier)
        try files.removeTree(top)
        try files.makeDirectory(top, mode: 0o700)
        try files.makeDirectory("\(top)/files", mode: 0o755)
        var copies = copies
        var directories: [BundlePath] = []
        var made: Set<BundlePath> = []
        for entry in manifest.entries where !isShared(entry.path) {
            for directory in entry.path.parents where made.insert(directory).inserted {
                try files.makeDirectory("\(top)/files/\(directory)", mode: 0o755)
                directories.append(directory)
            }
            try place(entry, at: "\(top)/files/\(entry.path)", &copies)
        }
        // Last, so that nothing is ever written through one.
        for link in manifest.links where !isShared(link.path) {
            for directory in link.path.parents where made.insert(directory).inserted {
                try files.makeDirectory("\(top)/files/\(directory)", mode: 0o755)
                directories.append(directory)
            }
            try files.symbolicLink(to: link.target, at: "\(top)/files/\(link.path)")
        }
        try linkShared(in: "\(top)/files", &made, &directories)
        return top
    }

    /// Brings a release to the disk, and puts it in its place with one rename.
    ///
    /// Its assets are in the pool by then: whoever finds a release in its place may activate it.
    ///
    /// - Parameter release: what it is; the manifest's release on its usual database when it is `nil`.
    func seal(
        _ manifest: BundleManifest, _ encoded: [UInt8], _ copies: [Digest: [String]],
        in top: String, hasMore: Bool, as release: ReleaseReference? = nil
    ) throws(ReleaseFailure) {
        let identifier = (release ?? manifest.reference).identifier
        let directories = try directories(in: "\(top)/files")
        let fresh = manifest.entries.filter { entry in
            !isShared(entry.path)
                && copies[entry.digest]?.contains(layout.blob(entry.digest)) == true
        }
        if hasMore || fresh.count + directories.count >= ReleaseStore.manyFiles {
            try files.syncAll(at: top)
        } else {
            // After all of them were written, because then one commit of the file system's journal serves many of these.
            for entry in fresh { try files.sync("\(top)/files/\(entry.path)") }
            for directory in directories.reversed() { try files.sync(directory) }
        }
        try files.write(encoded, to: "\(top)/manifest", mode: 0o444)
        try files.setMode(top, 0o755)
        try files.sync(top)
        try poolAssets(of: manifest, from: "\(top)/files")
        try files.rename(top, to: layout.release(identifier))
        try files.sync(layout.releases)
        try files.sync(layout.staging)
    }

    /// A directory and all beneath it, the outermost first.
    private func directories(in directory: String) throws(ReleaseFailure) -> [String] {
        var found = [directory]
        for name in try files.names(in: directory) {
            let path = "\(directory)/\(name)"
            if try files.status(path)?.kind == .directory {
                found += try directories(in: path)
            }
        }
        return found
    }

    /// From so many files and directories on, one sync of the whole file system is quicker than one for each.
    private static let manyFiles = 64

    /// Links a file with the entry's content and mode, or makes one.
    ///
    /// A mode belongs to the inode, so a content that is plain in one place and executable in another has two. A fetched blob
    /// (0600) becomes whichever is needed first.
    private func place(
        _ entry: BundleManifest.Entry, at path: String, _ copies: inout [Digest: [String]]
    ) throws(ReleaseFailure) {
        guard let candidates = copies[entry.digest], let any = candidates.first else {
            throw ReleaseFailure(
                .damaged,
                "\(entry.path) (\(entry.digest.short)) vanished while the release was assembled; stage again"
            )
        }
        let blob = layout.blob(entry.digest)
        for candidate in candidates {
            var mode = try files.status(candidate)?.mode
            if candidate == blob, mode == 0o600 {
                try files.setMode(blob, entry.mode)
                mode = entry.mode
            }
            if mode == entry.mode, try files.link(candidate, to: path) { return }
        }
        try files.copy(any, to: path, mode: entry.mode)
        // The next of its kind is linked to this one: the other may have all the links that it can have.
        copies[entry.digest]?.insert(path, at: 0)
    }

    // MARK: - Verifying

    /// What a look at every file of a release has found.
    public struct Verification: Hashable, Sendable {
        /// What is wrong, one line a file, 100 at most.
        public var damages: [String]
        /// Files that the manifest does not name, such as what an application wrote; 100 at most. Not a damage.
        public var unexpected: [String]

        public var isIntact: Bool { damages.isEmpty }
    }

    /// Reads every file of a staged release and compares it with the manifest: kind, mode, size and SHA-256.
    ///
    /// Takes as long as reading the release takes; other calls of the store come between two files.
    public func verify(_ release: ReleaseReference) async throws(ReleaseFailure) -> Verification {
        let manifest = try manifest(of: release)
        var report = Verification(damages: [], unexpected: [])
        for link in manifest.links where report.damages.count < 100 && !isShared(link.path) {
            let path = "\(filesDirectory(of: release))/\(link.path)"
            let kind = try files.status(path)?.kind
            let target = kind == .link ? try files.target(ofLink: path) : nil
            if target != link.target {
                report.damages.append("\(link.path): it is not the link that it was")
            }
        }
        for entry in manifest.entries
        where report.damages.count < 100 && !isShared(entry.path) {
            if let damage = try damage(
                to: entry, at: "\(filesDirectory(of: release))/\(entry.path)")
            {
                report.damages.append("\(entry.path): \(damage)")
            }
            await Task.yield()
        }
        let known = Set(
            manifest.entries.map(\.path.text) + manifest.links.map(\.path.text)
                + configuration.shared.map(\.text))
        try collectUnexpected(in: filesDirectory(of: release), "", known, &report.unexpected)
        return report
    }

    /// What is wrong with a file, in a few words; `nil` when it is what the entry says.
    func damage(to entry: BundleManifest.Entry, at path: String) throws(ReleaseFailure) -> String? {
        guard let status = try files.status(path) else { return "it is missing" }
        guard status.kind == .file else { return "it is not a regular file" }
        guard status.size == entry.size else {
            return "it has \(status.size) bytes instead of \(entry.size)"
        }
        guard status.mode == entry.mode else {
            return
                "its mode is \(String(status.mode, radix: 8)) instead of \(String(entry.mode, radix: 8))"
        }
        return try files.digest(path).digest == entry.digest ? nil : "its content has changed"
    }

    private func collectUnexpected(
        in directory: String, _ prefix: String, _ known: Set<String>, _ found: inout [String]
    ) throws(ReleaseFailure) {
        for name in try files.names(in: directory) where found.count < 100 {
            let path = "\(directory)/\(name)"
            if try files.status(path)?.kind == .directory {
                try collectUnexpected(in: path, "\(prefix)\(name)/", known, &found)
            } else if !known.contains("\(prefix)\(name)") {
                found.append("\(prefix)\(name)")
            }
        }
    }
}

extension BundleManifest.Entry {
    /// Never writable: one inode may be in several releases.
    var mode: UInt32 { isExecutable ? 0o555 : 0o444 }
}

extension BundlePath {
    /// The directories above it, the outermost first.
    var parents: [BundlePath] {
        var parents: [BundlePath] = []
        var next = parent
        while let path = next {
            parents.append(path)
            next = path.parent
        }
        return parents.reversed()
    }
}
