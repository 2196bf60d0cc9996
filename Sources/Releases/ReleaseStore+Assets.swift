// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// The pool: one directory with the assets of every staged release, under their paths beneath the assets directory.
///
/// A page that was loaded before the flip finds its assets there after it. That only works when a name stands for one content. A name
/// that carries a digest does, so one with other content is refused: its build is broken. Others (`site.css` beside
/// `site.55e7cbb9ba48.css`, a `staticfiles.json`) are the release's own: the pool keeps the first content that it saw, and a proxy
/// looks into the current release before the pool.
extension ReleaseStore {
    func checkAssets(of manifest: BundleManifest) throws(ReleaseFailure) {
        guard manifest.assets != nil else { return }
        var others: [(identifier: String, manifest: BundleManifest)] = []
        try forEachStaged { identifier, other in others.append((identifier, other)) }
        guard let conflict = manifest.assetConflict(with: others) else { return }
        throw ReleaseFailure(
            .assetConflict, "\(conflict); \(BundleManifest.assetConflictAdvice)")
    }

    /// Links the assets of a release into the pool.
    ///
    /// - Parameter source: the directory with the release's files.
    func poolAssets(of manifest: BundleManifest, from source: String) throws(ReleaseFailure) {
        var touched: Set<String> = []
        var made: Set<BundlePath> = []
        let others = try assetsOfOthers(than: manifest)
        for (path, entry) in manifest.assetEntries where !isShared(entry.path) {
            // Whose name it is first, keeps it; and a file never takes the place of another release's directory.
            if others.files.contains(path) || others.directories.contains(path)
                || path.parents.contains(where: others.files.contains)
            {
                continue
            }
            for parent in path.parents where made.insert(parent).inserted {
                let location = "\(layout.assets)/\(parent)"
                let kind = try files.status(location)?.kind
                if kind == .directory { continue }
                if kind != nil { try files.remove(location) }
                try files.makeDirectory(location, mode: 0o755)
                touched.insert(parent.parent.map { "\(layout.assets)/\($0)" } ?? layout.assets)
            }
            let location = "\(layout.assets)/\(path)"
            if try isSame(location, "\(source)/\(entry.path)", entry) { continue }
            if try files.status(location)?.kind == .directory { try files.removeTree(location) }
            let next = "\(layout.staging)/\(entry.digest).asset"
            try files.remove(next)
            if try !files.link("\(source)/\(entry.path)", to: next) {
                try files.copy("\(source)/\(entry.path)", to: next, mode: 0o444)
            }
            try files.rename(next, to: location)
            touched.insert(path.parent.map { "\(layout.assets)/\($0)" } ?? layout.assets)
        }
        for directory in touched.sorted().reversed() { try files.sync(directory) }
    }

    /// The names in the pool that other staged releases have there already.
    private func assetsOfOthers(
        than manifest: BundleManifest
    ) throws(ReleaseFailure) -> (files: Set<BundlePath>, directories: Set<BundlePath>) {
        var files: Set<BundlePath> = []
        var directories: Set<BundlePath> = []
        let own = manifest.reference.identifier
        let contents = Dictionary(
            manifest.assetEntries.map { ($0.path, $0.entry.digest) }, uniquingKeysWith: { $1 })
        try forEachStaged { other, otherManifest in
            guard other != own else { return }
            for (path, entry) in otherManifest.assetEntries {
                if contents[path] != entry.digest { files.insert(path) }
                directories.formUnion(path.parents)
            }
        }
        return (files, directories)
    }

    private func isSame(
        _ location: String, _ source: String, _ entry: BundleManifest.Entry
    ) throws(ReleaseFailure) -> Bool {
        guard let there = try files.status(location), there.kind == .file else { return false }
        if let own = try files.status(source), own.device == there.device, own.inode == there.inode
        {
            return true
        }
        guard there.size == entry.size else { return false }
        return try files.digest(location).digest == entry.digest
    }

    /// Removes every asset that no staged release has. Running it again, after a kill in the middle, completes it.
    ///
    /// - Returns: how many files were removed.
    func removeOrphanedAssets() throws(ReleaseFailure) -> Int {
        for identifier in try files.names(in: layout.releases)
        where try manifest(named: identifier) == nil {
            throw ReleaseFailure(
                .damaged,
                "\(layout.release(identifier)) has no readable manifest, so it is not known which assets it needs; "
                    + "move the directory away")
        }
        var kept: Set<String> = []
        try forEachStaged { _, manifest in
            for (path, _) in manifest.assetEntries { kept.insert("\(layout.assets)/\(path)") }
        }
        return try removeAssets(in: layout.assets, except: kept)
    }

    private func removeAssets(
        in directory: String, except kept: Set<String>
    ) throws(ReleaseFailure) -> Int {
        var count = 0
        for name in try files.names(in: directory) {
            let path = "\(directory)/\(name)"
            if try files.status(path)?.kind == .directory {
                count += try removeAssets(in: path, except: kept)
                if try files.names(in: path).isEmpty { try files.removeDirectory(path) }
            } else if !kept.contains(path) {
                try files.remove(path)
                count += 1
            }
        }
        return count
    }
}

extension BundlePath {
    /// Whether the file's name has a version or a digest of any length.
    var carriesNumber: Bool {
        let name = text.utf8.split(separator: 47).last ?? text.utf8[...]
        return name.contains { (48...57).contains($0) }
    }

    /// Whether the file's name says its content: a part of eight or more hexadecimal digits, not all of them decimal (which would be a
    /// date or a number), as bundlers, Sprockets, Propshaft and Django's ManifestStaticFilesStorage make them.
    var carriesDigest: Bool {
        let name = text.utf8.split(separator: 47).last ?? text.utf8[...]
        return name.split(whereSeparator: { [45, 46, 95].contains($0) }).contains { part in
            part.count >= 8
                && part.allSatisfy {
                    (48...57).contains($0) || (97...102).contains($0) || (65...70).contains($0)
                } && !part.allSatisfy { (48...57).contains($0) }
                && part.contains { (48...57).contains($0) }
        }
    }
}
