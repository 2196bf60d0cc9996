// SPDX-License-Identifier: Apache-2.0

import RunStore
import Synchronization
import UpgradeModel

/// A registry that counts how often a token is looked up.
final class CountingRegistry: Registry {
    let store = InMemoryRunStore()
    private let count = Mutex(0)

    var lookups: Int { count.withLock { $0 } }

    func identity(ofTokenHash hash: Digest) async throws(StoreFailure) -> Identity? {
        count.withLock { $0 += 1 }
        return try await store.identity(ofTokenHash: hash)
    }

    func addToken(
        hash: Digest, for identity: Identity, labels: [String: String], at now: Instant
    ) async throws(StoreFailure) {
        try await store.addToken(hash: hash, for: identity, labels: labels, at: now)
    }
    func revokeTokens(of identity: Identity) async throws(StoreFailure) -> Bool {
        try await store.revokeTokens(of: identity)
    }
    func changes() async throws(StoreFailure) -> Int64 { try await store.changes() }
    func nodes() async throws(StoreFailure) -> [NodeRecord] { try await store.nodes() }
}
