// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// Where everything is beneath a store's root. `docs/decisions/releases-layout.md` says why.
struct ReleaseLayout: Sendable {
    let root: String

    var releases: String { "\(root)/releases" }
    /// Private (0700), on the same file system, so that leaving it is a rename.
    var staging: String { "\(root)/staging" }
    var activations: String { "\(root)/activations" }
    var assets: String { "\(root)/assets" }
    /// What all releases have in common; made and filled by people.
    var shared: String { "\(root)/shared" }
    var current: String { "\(root)/current" }
    var nextCurrent: String { "\(root)/.current.next" }

    func release(_ identifier: String) -> String { "\(releases)/\(identifier)" }
    func manifest(_ identifier: String) -> String { "\(releases)/\(identifier)/manifest" }
    func files(_ identifier: String) -> String { "\(releases)/\(identifier)/files" }

    /// A blob on its way here.
    func part(_ digest: Digest) -> String { "\(staging)/\(digest).part" }
    /// A blob that is complete and was verified.
    func blob(_ digest: Digest) -> String { "\(staging)/\(digest).blob" }
    func assembly(_ identifier: String) -> String { "\(staging)/\(identifier).tmp" }
    /// What has been taken out of its place and is yet to be deleted.
    func trash(_ name: String) -> String { "\(staging)/\(name).trash" }
    func nextActivation(_ name: String) -> String { "\(staging)/\(name).activation" }
}

extension ReleaseReference {
    /// The name of the release's directory on a node and of its socket: `v2.3f786850e387`.
    ///
    /// Name and the first 12 digits of the digest, because two bundles of one name are two releases; with `.standby` for one that works
    /// on the standby.
    public var identifier: String {
        "\(name).\(manifest.short)" + (database.map { ".\($0.rawValue)" } ?? "")
    }

    /// The name of the directory that `current` leads to when the release is served: `7-v2.3f786850e387`. The proxy says it in
    /// `X-Sluice-Release`.
    public func activationName(_ generation: CacheGeneration) -> String {
        "\(generation.rawValue)-\(identifier)"
    }
}

/// The parts of a release's identifier: `v1.3f786850e387` and `v1.3f786850e387.standby`. A name may have dots in it.
struct ReleaseIdentifier {
    var name: ReleaseName
    var database: ReleaseDatabase?

    /// - Returns: `nil` for what is no identifier. Whether the digits are those of the release's digest is the caller's to see.
    init?(_ identifier: String) {
        var rest = identifier[...]
        // No word for a database has twelve letters, as the digits of a digest are twelve.
        if let dot = rest.lastIndex(of: "."),
            let database = ReleaseDatabase(rawValue: String(rest[rest.index(after: dot)...]))
        {
            self.database = database
            rest = rest[..<dot]
        }
        guard let dot = rest.lastIndex(of: "."), let name = ReleaseName(String(rest[..<dot])) else {
            return nil
        }
        self.name = name
    }
}
