// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// The pool: one directory with the assets of every staged release, under their paths beneath the assets directory.
///
/// A page that was loaded before the flip finds its assets there after it. That only works when a name stands for one content,
/// so a release whose asset has the name of another release's asset and other content is refused.
extension ReleaseStore {
    func checkAssets(of manifest: BundleManifest) throws(ReleaseFailure) {
        guard let directory = manifest.assets else { return }
        let identifier = manifest.reference.identifier
        var wanted: [BundlePath: Digest] = [:]
        var parents: Set<BundlePath> = []
        for (path, entry) in manifest.assetEntries {
            wanted[path] = entry.digest
            parents.formUnion(path.parents)
        }
        try forEachStaged { other, otherManifest throws(ReleaseFailure) in
            guard other != identifier else { return }
            for (path, entry) in otherManifest.assetEntries {
                let isOtherContent = wanted[path].map { $0 != entry.digest } ?? false
                let isOtherKind =
                    parents.contains(path) || path.parents.contains { wanted[$0] != nil }
                guard isOtherContent || isOtherKind else { continue }
                let own =
                    isOtherContent
                    ? path
                    : wanted.keys.filter {
                        $0.relative(to: path) != nil || path.relative(to: $0) != nil
                    }.min()
                throw ReleaseFailure(
                    .assetConflict,
                    "the asset \(directory)/\(own ?? path) of \(identifier) is in conflict with \(entry.path) of \(other), "
                        + "which browsers may still ask for: "
                        + (isOtherContent
                            ? "same name, other content" : "one is a file, the other a directory")
                        + "; put a hash of the content into the name, or keep the file out of \(directory)"
                )
            }
        }
    }

    /// Links the assets of a release into the pool. `checkAssets` has passed, so what is in the way belongs to nobody.
    ///
    /// - Parameter source: the directory with the release's files.
    func poolAssets(of manifest: BundleManifest, from source: String) throws(ReleaseFailure) {
        var touched: Set<String> = []
        var made: Set<BundlePath> = []
        for (path, entry) in manifest.assetEntries {
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
