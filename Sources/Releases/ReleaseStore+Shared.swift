// SPDX-License-Identifier: Apache-2.0

/// What all releases of a node have in common and no bundle brings: uploads, logs, a configuration.
///
/// Each is a link in the release to the same path beneath `shared`. What a bundle has there is left out: a directory that a repository
/// keeps with a `.gitkeep` is no reason to refuse a release.
extension ReleaseStore {
    /// Whether a path is one that the node shares, or lies in one.
    func isShared(_ path: BundlePath) -> Bool {
        configuration.shared.contains { path == $0 || path.relative(to: $0) != nil }
    }

    /// Everything that is shared is there, or the application would find a link that leads nowhere.
    func checkShared() throws(ReleaseFailure) {
        for path in configuration.shared {
            guard try files.status("\(layout.shared)/\(path)") != nil else {
                throw ReleaseFailure(
                    .fileSystem,
                    "\(layout.shared)/\(path) is not there, and this node shares it; make it, as the file or directory that "
                        + "the application needs, for its user")
            }
        }
    }

    func linkShared(
        in top: String, _ made: inout Set<BundlePath>, _ directories: inout [BundlePath]
    ) throws(ReleaseFailure) {
        for path in configuration.shared {
            for directory in path.parents where made.insert(directory).inserted {
                try files.makeDirectory("\(top)/\(directory)", mode: 0o755)
                directories.append(directory)
            }
            try files.symbolicLink(to: "\(layout.shared)/\(path)", at: "\(top)/\(path)")
        }
    }
}
