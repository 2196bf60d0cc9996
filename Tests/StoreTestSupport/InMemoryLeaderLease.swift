// SPDX-License-Identifier: Apache-2.0

public import RunStore
import Synchronization
public import UpgradeModel

/// One process's part in the question who leads an `InMemoryRunStore`. Make one for each coordinator that a test starts.
public final class InMemoryLeaderLease: LeaderLease {
    private let store: InMemoryRunStore
    private let serial: Int

    public init(_ store: InMemoryRunStore) {
        self.store = store
        serial = store.state.withLock { state in
            state.leases += 1
            return state.leases
        }
    }

    public func acquire(holder: String) async throws(StoreFailure) -> Epoch {
        let result: Result<Epoch, StoreFailure> = store.state.withLock { state in
            if let leader = state.leader, leader.serial != serial {
                return .failure(.leaderHeld(by: leader.holder))
            }
            state.leader = (serial, holder)
            state.epoch = state.epoch.next
            return .success(state.epoch)
        }
        return try result.get()
    }

    /// Gives the lead up, as the end of a process does, whether it was asked to end or killed.
    public func release() async {
        store.state.withLock { state in
            if state.leader?.serial == serial { state.leader = nil }
        }
    }
}
