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
    /// At most `length` bytes from `offset`; fewer only at the end.
    func read(_ blob: Digest, offset: Int64, length: Int) async throws(StoreFailure) -> [UInt8]
    /// Begins to receive a blob. Nothing is visible before `finish` has verified the digest.
    func receive(_ blob: Digest, limit: Int64) async throws(StoreFailure) -> any BlobReceiver
    /// Removes every blob that is not in the set and older than an hour.
    func prune(keeping blobs: Set<Digest>) async throws(StoreFailure)
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

/// Tokens (as hashes) and the inventory of nodes.
public protocol Registry: Sendable {
    /// Stores the SHA-256 of a token. A node's earlier tokens stay valid until they are revoked.
    func addToken(hash: Digest, for identity: Identity, labels: [String: String], at now: Instant)
        async throws(StoreFailure)
    func identity(ofTokenHash hash: Digest) async throws(StoreFailure) -> Identity?
    /// - Returns: false when nobody of that name was there.
    @discardableResult
    func revokeTokens(of identity: Identity) async throws(StoreFailure) -> Bool
    /// Another number than before once tokens or nodes may have changed, by whomever: what was asked before is asked again then.
    func changes() async throws(StoreFailure) -> Int64
    /// Every node, sorted by name.
    func nodes() async throws(StoreFailure) -> [NodeRecord]
}
