// SPDX-License-Identifier: Apache-2.0

/// The leader's fencing token. Rises by one with each coordinator that takes over; whoever receives an effect refuses a lower one.
public struct Epoch: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    public let rawValue: Int64
    public init(rawValue: Int64) { self.rawValue = rawValue }
    public static let zero = Epoch(rawValue: 0)
    public var next: Epoch { Epoch(rawValue: rawValue + 1) }
    public static func < (left: Epoch, right: Epoch) -> Bool { left.rawValue < right.rawValue }

    public init(from decoder: any Decoder) throws {
        rawValue = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

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

/// The number that separates what a cache stored before a flush from what it stores after it. Rises; never reused on a node.
public struct CacheGeneration: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    public let rawValue: Int64
    public init(rawValue: Int64) { self.rawValue = rawValue }
    public static let zero = CacheGeneration(rawValue: 0)
    public var next: CacheGeneration { CacheGeneration(rawValue: rawValue + 1) }
    public static func < (left: CacheGeneration, right: CacheGeneration) -> Bool {
        left.rawValue < right.rawValue
    }

    public init(from decoder: any Decoder) throws {
        rawValue = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
