// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension BundleManifest {
    /// Why its assets cannot lie beside those of other releases: names that carry a digest and stand for two contents.
    ///
    /// A page that was loaded before the flip asks for such a name after it, and a browser keeps what it got for a year.
    ///
    /// - Parameter others: releases by identifier, with what they are.
    /// - Returns: one sentence with all names, 20 at most in words; `nil` when there is no conflict.
    public func assetConflict(with others: [(identifier: String, manifest: BundleManifest)])
        -> String?
    {
        guard assets != nil else { return nil }
        let identifier = reference.identifier
        var wanted: [BundlePath: Digest] = [:]
        for (path, entry) in assetEntries where path.carriesDigest { wanted[path] = entry.digest }
        var conflicts: [String] = []
        for other in others where other.identifier != identifier {
            for (path, entry) in other.manifest.assetEntries {
                guard let own = wanted[path], own != entry.digest else { continue }
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

    /// What to do about one.
    public static let assetConflictAdvice =
        "build them anew, so that the name changes with the content"
}
