// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import UpgradeModel

/// A release once more on the same node, for another database: the same files in a directory of its own, so that the processes of the
/// two can be told apart, and a socket of its own.
extension ReleaseStore {
    /// Makes it of what the node has, with hard links: nothing is fetched and no action is run.
    ///
    /// It gets what the release had when it was complete: the files of its manifest, and what the node's own action has built beside
    /// them. What an application has written there since (a file with a process's number, a log) stays the other's alone. One that is there
    /// already is verified, and made anew when it is damaged and not active.
    ///
    /// - Parameter release: with a database.
    /// - Throws: ``ReleaseFailure/Code/notStaged`` where the node does not have the release itself,
    ///   ``ReleaseFailure/Code/unfinished`` where the two could not run beside one another.
    public func stageBeside(_ release: ReleaseReference) async throws(ReleaseFailure) {
        guard !isStaging else {
            throw ReleaseFailure(
                .busy, "another release is being staged on this node; try again after it")
        }
        let origin = release.on(nil)
        let manifest = try checkBeside(release)
        isStaging = true
        defer { isStaging = false }
        try removeLeftovers()
        if try isStaged(release) {
            let report = try await verify(release)
            if report.isIntact { return }
            guard try current()?.release != release else {
                throw ReleaseFailure(
                    .damaged,
                    "the active release \(release.identifier) is damaged: \(report.damages[0]); activate another release, then "
                        + "stage this one again")
            }
            try discard(
                layout.release(release.identifier), as: release.identifier, from: layout.releases)
        }
        let report = try await verify(origin)
        guard report.isIntact else {
            throw ReleaseFailure(
                .damaged,
                "\(origin.identifier), which \(release.identifier) is made of, is damaged: \(report.damages[0]); put the file back as it "
                    + "was, or roll out a bundle that is whole")
        }
        let top = try await mirror(origin, manifest, as: release)
        let bytes = try files.read(
            layout.manifest(origin.identifier), limit: configuration.limits.encodedSize)
        try seal(manifest, bytes, [:], in: top, hasMore: false, as: release)
    }

    /// Everything that can refuse it without touching the disk.
    private func checkBeside(
        _ release: ReleaseReference
    ) throws(ReleaseFailure) -> BundleManifest {
        let origin = release.on(nil)
        guard try isStaged(origin) else {
            throw ReleaseFailure(
                .notStaged,
                "\(origin.identifier) is not among the releases of this node, so \(release.identifier) cannot be made of it; take over "
                    + "what is served with `sluice-agent adopt`, or roll it out with a run")
        }
        let manifest = try manifest(of: origin)
        // A version runs once, and is switched from one database to the other.
        if manifest.entries.contains(where: { $0.path.text == Bundle.versionFile }) {
            try checkShared()
            return manifest
        }
        let socket = socketPath(of: release)
        guard socket != socketPath(of: origin) else {
            throw ReleaseFailure(
                .unfinished,
                "\(release.identifier) would listen where \(origin.identifier) does, on \(socket); put {release} into `application.socket`"
            )
        }
        guard socket.utf8.count <= ReleaseStore.longestSocket else {
            throw ReleaseFailure(
                .unfinished,
                "the socket path \(socket) has more than \(ReleaseStore.longestSocket) bytes; shorten `application.socket`"
            )
        }
        try checkShared()
        return manifest
    }

    /// - Returns: the directory in which the release has been put together.
    private func mirror(
        _ origin: ReleaseReference, _ manifest: BundleManifest, as release: ReleaseReference
    ) async throws(ReleaseFailure) -> String {
        let top = layout.assembly(release.identifier)
        try files.removeTree(top)
        try files.makeDirectory(top, mode: 0o700)
        try files.makeDirectory("\(top)/files", mode: 0o755)
        // Written as the last file of a release.
        let sealed = try files.status(layout.manifest(origin.identifier))?.modified ?? 0
        var made: Set<BundlePath> = []
        var directories: [BundlePath] = []
        let known = Set(manifest.entries.map(\.path.text))
        try await mirror(
            filesDirectory(of: origin), "", to: "\(top)/files", known: known, since: sealed)
        try linkShared(in: "\(top)/files", &made, &directories)
        return top
    }

    private func mirror(
        _ source: String, _ prefix: String, to target: String, known: Set<String>,
        since sealed: Int64
    ) async throws(ReleaseFailure) {
        for name in try files.names(in: source) {
            let (from, to) = ("\(source)/\(name)", "\(target)/\(name)")
            guard !configuration.shared.contains(where: { $0.text == prefix + name }),
                let status = try files.status(from)
            else { continue }
            switch status.kind {
            case .directory:
                try files.makeDirectory(to, mode: status.mode)
                try await mirror(from, "\(prefix)\(name)/", to: to, known: known, since: sealed)
                try files.setOwner(of: to, as: from)
            case .link:
                if let link = try files.target(ofLink: from) {
                    try files.symbolicLink(to: link, at: to)
                }
            case .file where known.contains(prefix + name) || status.modified <= sealed:
                if try !files.link(from, to: to) {
                    try files.copy(from, to: to, mode: status.mode)
                    try files.setOwner(of: to, as: from)
                }
            case .file, .other: break
            }
        }
        await Task.yield()
    }
}
