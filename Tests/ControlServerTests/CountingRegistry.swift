// SPDX-License-Identifier: Apache-2.0

import RunStore
import StoreTestSupport
import Synchronization
import UpgradeModel

/// A registry that counts how often the tokens are read.
final class CountingRegistry: Registry {
    let store = InMemoryRunStore()
    private let count = Mutex(0)

    var lookups: Int { count.withLock { $0 } }

    func identities() async throws(StoreFailure) -> [Digest: Identity] {
        count.withLock { $0 += 1 }
        return try await store.identities()
    }

    func addTokens(_ tokens: [NewToken], at now: Instant) async throws(StoreFailure) {
        try await store.addTokens(tokens, at: now)
    }
    func revokeTokens(of identity: Identity) async throws(StoreFailure) -> Bool {
        try await store.revokeTokens(of: identity)
    }
    func changes() async throws(StoreFailure) -> Int64 { try await store.changes() }
    func nodes() async throws(StoreFailure) -> [NodeRecord] { try await store.nodes() }
}
