// SPDX-License-Identifier: Apache-2.0

/// Names one flip of one node: the same identity is the same flip, a new one is a new cache generation even of the same release.
public struct ActivationIdentity: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The release to serve. The node takes the next cache generation for an identity that it has not seen yet.
public struct ActivationGoal: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    public var identity: ActivationIdentity

    public init(release: ReleaseReference, identity: ActivationIdentity) {
        self.release = release
        self.identity = identity
    }
}

/// The release that a node serves.
public struct ActiveRelease: Hashable, Codable, Sendable {
    public var release: ReleaseReference
    /// `nil` for a release that was there before Sluice came.
    public var identity: ActivationIdentity?
    public var cacheGeneration: CacheGeneration

    public init(
        release: ReleaseReference, identity: ActivationIdentity?, cacheGeneration: CacheGeneration
    ) {
        self.release = release
        self.identity = identity
        self.cacheGeneration = cacheGeneration
    }
}
