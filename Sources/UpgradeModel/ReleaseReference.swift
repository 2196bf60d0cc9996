// SPDX-License-Identifier: Apache-2.0

/// A release by name and by the digest of its manifest: two bundles with one name are two releases.
public struct ReleaseReference: Hashable, Codable, Sendable {
    public var name: ReleaseName
    /// SHA-256 of the bundle's manifest, which in turn names every file by digest.
    public var manifest: Digest
    /// Which database it works on; `nil`: its usual one. The same files with another database are another activation, with a socket
    /// and processes of its own.
    public var database: ReleaseDatabase?

    public init(name: ReleaseName, manifest: Digest, database: ReleaseDatabase? = nil) {
        self.name = name
        self.manifest = manifest
        self.database = database
    }

    /// The same release on another database; on its usual one for `nil`.
    public func on(_ database: ReleaseDatabase?) -> ReleaseReference {
        ReleaseReference(name: name, manifest: manifest, database: database)
    }

    /// For people: `v1`, `v1 on the standby`.
    public var title: String { name.rawValue + (database.map { " on the \($0.rawValue)" } ?? "") }

    /// Whether both are the same files, on whatever database.
    public func isSameApplication(as other: ReleaseReference) -> Bool { on(nil) == other.on(nil) }

    /// Whether both are the same files and work on two databases.
    public func isOnAnotherDatabase(than other: ReleaseReference) -> Bool {
        isSameApplication(as: other) && database != other.database
    }
}

/// A database that a release works on instead of its usual one.
public enum ReleaseDatabase: String, Hashable, Codable, Sendable, CaseIterable {
    /// The physical standby that is frozen for the write window: its reads go on there.
    case standby
}
