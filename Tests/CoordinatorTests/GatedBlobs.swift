// SPDX-License-Identifier: Apache-2.0

import RunStore
import Synchronization
import UpgradeModel

/// Blobs of which one is read only once the gate has been opened.
final class GatedBlobs: BlobStore {
    private struct State {
        var isClosed = true
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let base: any BlobStore
    private let gated: Digest
    private let state = Mutex(State())

    init(_ base: any BlobStore, gated: Digest) {
        self.base = base
        self.gated = gated
    }

    /// Who waits at the gate.
    var waiting: Int { state.withLock { $0.waiting.count } }

    func close() { state.withLock { $0.isClosed = true } }

    func open() {
        let waiting = state.withLock { state in
            state.isClosed = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func read(
        _ blob: Digest, offset: Int64, length: Int
    ) async throws(StoreFailure) -> [UInt8] {
        if blob == gated {
            await withTaskCancellationHandler {
                await pass()
            } onCancel: {
                open()
            }
        }
        return try await base.read(blob, offset: offset, length: length)
    }

    private func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if state.isClosed { state.waiting.append(continuation) }
                return !state.isClosed
            }
            if isOpen { continuation.resume() }
        }
    }

    func size(of blob: Digest) async throws(StoreFailure) -> Int64? {
        try await base.size(of: blob)
    }
    func renew(_ blob: Digest) async throws(StoreFailure) -> Int64? {
        try await base.renew(blob)
    }
    func space() async throws(StoreFailure) -> DiskSpace? { try await base.space() }
    func receive(_ blob: Digest, limit: Int64) async throws(StoreFailure) -> any BlobReceiver {
        try await base.receive(blob, limit: limit)
    }
    func prune(keeping blobs: Set<Digest>) async throws(StoreFailure) {
        try await base.prune(keeping: blobs)
    }
}
