// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension BundleManifest {
    /// Why its assets cannot lie beside those of other releases: names that carry a digest and stand for two contents.
    ///
    /// A page that was loaded before the flip asks for such a name after it, and a browser keeps what it got for a year.
    ///
    /// A compressed copy (`.gz`, `.br`, `.zst`) or a source map (`.map`) of an asset that is the same in both is no conflict, for either
    /// says the same: packers write the time of the build into the one, Sprockets for example, and the places of sources into the other.
    ///
    /// - Parameter others: releases by identifier, with what they are.
    /// - Returns: one sentence with all names, 20 at most in words; `nil` when there is no conflict.
    public func assetConflict(with others: [(identifier: String, manifest: BundleManifest)])
        -> String?
    {
        guard assets != nil else { return nil }
        let identifier = reference.identifier
        let contents = assetContents
        var wanted = contents.filter { $0.key.carriesDigest }
        var conflicts: [String] = []
        for other in others where other.identifier != identifier {
            let others = other.manifest.assetContents
            for (path, entry) in other.manifest.assetEntries {
                guard let own = wanted[path], own != entry.digest else { continue }
                // A source map may have a compressed copy.
                let origins = [path.madeFrom, path.madeFrom?.madeFrom].compactMap { $0 }
                if origins.contains(where: { contents[$0] != nil && contents[$0] == others[$0] }) {
                    continue
                }
                conflicts.append("\(path) (as in \(other.identifier))")
                wanted[path] = nil
            }
        }
        guard !conflicts.isEmpty else { return nil }
        let listed = conflicts.prefix(20).joined(separator: ", ")
        return
            "\(conflicts.count) assets of \(identifier) have a digest in their name and other content than the asset of that name "
            + "which browsers may still ask for: \(listed)\(conflicts.count > 20 ? " and more" : "")"
    }

    private var assetContents: [BundlePath: Digest] {
        Dictionary(assetEntries.map { ($0.path, $0.entry.digest) }, uniquingKeysWith: { $1 })
    }

    /// What to do about one.
    public static let assetConflictAdvice =
        "build them anew, so that the name changes with the content"
}
