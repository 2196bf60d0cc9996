// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// Who leads. Taking the lead raises the epoch, durably, before it returns.
public protocol LeaderLease: Sendable {
    /// - Parameter holder: who asks, for the message that a second one gets: host, process, since when.
    /// - Throws: `.leaderHeld` while another living process leads.
    func acquire(holder: String) async throws(StoreFailure) -> Epoch
    func release() async
}

/// Bytes by digest: manifests, files of releases, migrations, plans.
public protocol BlobStore: Sendable {
    /// The size in bytes, or `nil` when it is not there.
    func size(of blob: Digest) async throws(StoreFailure) -> Int64?
    /// The size, as `size` says it; the blob is as if it had just come, so that `prune` leaves it for another hour.
    func renew(_ blob: Digest) async throws(StoreFailure) -> Int64?
    /// At most `length` bytes from `offset`; fewer only at the end.
    func read(_ blob: Digest, offset: Int64, length: Int) async throws(StoreFailure) -> [UInt8]
    /// Those that are not there; with `renews`, the others are as `renew` leaves them.
    func missing(of blobs: [Digest], renews: Bool) async throws(StoreFailure) -> [Digest]
    /// Small blobs, each whole and in this order. - Throws: `.notFound` for the first that is not there.
    func readWhole(_ blobs: [Digest], limit: Int) async throws(StoreFailure) -> [[UInt8]]
    /// Verifies small blobs and makes them durable, all of them or none that is wrong. - Throws: `.rejected` when a digest differs.
    func store(_ blobs: [(digest: Digest, bytes: [UInt8])]) async throws(StoreFailure)
    /// Begins to receive a blob. Nothing is visible before `finish` has verified the digest.
    func receive(_ blob: Digest, limit: Int64) async throws(StoreFailure) -> any BlobReceiver
    /// Removes every blob that is not in the set and older than an hour.
    func prune(keeping blobs: Set<Digest>) async throws(StoreFailure)
    /// How much room the disk has; `nil` for a store that is not on one.
    func space() async throws(StoreFailure) -> DiskSpace?
}

/// One blob after the other, for a store that has no better way.
extension BlobStore {
    public func missing(of blobs: [Digest], renews: Bool) async throws(StoreFailure) -> [Digest] {
        var missing: [Digest] = []
        for blob in blobs {
            let size = renews ? try await renew(blob) : try await size(of: blob)
            if size == nil { missing.append(blob) }
        }
        return missing
    }

    public func readWhole(_ blobs: [Digest], limit: Int) async throws(StoreFailure) -> [[UInt8]] {
        var contents: [[UInt8]] = []
        for blob in blobs { contents.append(try await read(blob, offset: 0, length: limit)) }
        return contents
    }

    public func store(_ blobs: [(digest: Digest, bytes: [UInt8])]) async throws(StoreFailure) {
        for blob in blobs {
            let receiver = try await receive(blob.digest, limit: Int64(blob.bytes.count))
            try await receiver.write(blob.bytes)
            try await receiver.finish()
        }
    }
}

/// How much room the disk of a store has, in bytes.
public struct DiskSpace: Hashable, Sendable {
    public var free: Int64
    /// What blobs leave free, so that the journal on the same disk can go on.
    public var reserve: Int64

    public init(free: Int64, reserve: Int64) {
        self.free = free
        self.reserve = reserve
    }

    /// Half of the reserve is for what operators ask; the other half is for the leader's own records alone.
    public var isLow: Bool { free < reserve / 2 }
}

/// One blob on its way in.
public protocol BlobReceiver: Sendable {
    func write(_ bytes: [UInt8]) async throws(StoreFailure)
    /// Verifies and makes it durable. - Throws: `.rejected` when the digest differs; nothing is left behind then.
    func finish() async throws(StoreFailure)
    func cancel() async
}

/// A node that the coordinator knows: its name, and the labels that plans select by.
public struct NodeRecord: Hashable, Codable, Sendable {
    public var name: NodeName
    public var labels: [String: String]

    public init(name: NodeName, labels: [String: String]) {
        self.name = name
        self.labels = labels
    }
}

/// Who a bearer token belongs to.
public enum Identity: Hashable, Sendable {
    case node(NodeName)
    case `operator`(OperatorName)
}

/// A token to be stored: its SHA-256, whose it is, and the labels of a node.
public struct NewToken: Hashable, Sendable {
    public var hash: Digest
    public var identity: Identity
    /// Replace the node's labels when there are any.
    public var labels: [String: String]
    /// Whether every earlier token of the same owner ends.
    public var replaces: Bool

    public init(
        hash: Digest, identity: Identity, labels: [String: String] = [:], replaces: Bool = false
    ) {
        self.hash = hash
        self.identity = identity
        self.labels = labels
        self.replaces = replaces
    }
}

/// Tokens (as hashes) and the inventory of nodes.
public protocol Registry: Sendable {
    /// Stores all of them, or none. An owner's earlier tokens stay valid until they are replaced or revoked.
    func addTokens(_ tokens: [NewToken], at now: Instant) async throws(StoreFailure)
    /// Whose each token is, by its SHA-256: a few thousand at most, so that nobody has to ask for a single one.
    func identities() async throws(StoreFailure) -> [Digest: Identity]
    /// - Returns: false when nobody of that name was there.
    @discardableResult
    func revokeTokens(of identity: Identity) async throws(StoreFailure) -> Bool
    /// Another number than before once tokens or nodes may have changed, by whomever: what was asked before is asked again then.
    func changes() async throws(StoreFailure) -> Int64
    /// Every node, sorted by name.
    func nodes() async throws(StoreFailure) -> [NodeRecord]
}

extension Registry {
    /// Stores one token.
    public func addToken(
        hash: Digest, for identity: Identity, labels: [String: String], at now: Instant
    ) async throws(StoreFailure) {
        try await addTokens([NewToken(hash: hash, identity: identity, labels: labels)], at: now)
    }
}
