// SPDX-License-Identifier: Apache-2.0

/// A release by name and by the digest of its manifest: two bundles with one name are two releases.
public struct ReleaseReference: Hashable, Codable, Sendable {
    public var name: ReleaseName
    /// SHA-256 of the bundle's manifest, which in turn names every file by digest.
    public var manifest: Digest

    public init(name: ReleaseName, manifest: Digest) {
        self.name = name
        self.manifest = manifest
    }
}
