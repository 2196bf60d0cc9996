// SPDX-License-Identifier: Apache-2.0

public import RunStore
import Synchronization
public import UpgradeModel

/// Blobs that live as long as the process: for tests.
public final class InMemoryBlobStore: BlobStore {
    private let blobs = Mutex<[Digest: [UInt8]]>([:])
    private let old = Mutex<Set<Digest>>([])
    private let room = Mutex<DiskSpace?>(nil)
    private let digest: @Sendable ([UInt8]) -> Digest

    /// - Parameter digest: takes a SHA-256; given from outside because this room has no C library beneath it.
    public init(digest: @escaping @Sendable ([UInt8]) -> Digest) {
        self.digest = digest
    }

    public func size(of blob: Digest) async throws(StoreFailure) -> Int64? {
        blobs.withLock { $0[blob].map { Int64($0.count) } }
    }

    public func renew(_ blob: Digest) async throws(StoreFailure) -> Int64? {
        old.withLock { _ = $0.remove(blob) }
        return try await size(of: blob)
    }

    public func space() async throws(StoreFailure) -> DiskSpace? { room.withLock { $0 } }

    /// Has the store say that it is on a disk with this much room.
    public func letSpaceBe(_ space: DiskSpace?) { room.withLock { $0 = space } }

    public func read(_ blob: Digest, offset: Int64, length: Int) async throws(StoreFailure)
        -> [UInt8]
    {
        guard let bytes = blobs.withLock({ $0[blob] }) else { throw .notFound("blob \(blob)") }
        guard offset >= 0, length > 0, offset < Int64(bytes.count) else { return [] }
        let start = Int(offset)
        return Array(bytes[start..<min(bytes.count, start + min(length, bytes.count))])
    }

    public func receive(_ blob: Digest, limit: Int64) async throws(StoreFailure) -> any BlobReceiver
    {
        InMemoryBlobReceiver(blob: blob, limit: limit, digest: digest) { bytes in
            self.blobs.withLock { $0[blob] = bytes }
        }
    }

    public func prune(keeping kept: Set<Digest>) async throws(StoreFailure) {
        let old = old.withLock { $0 }
        blobs.withLock { blobs in
            blobs = blobs.filter { kept.contains($0.key) || !old.contains($0.key) }
        }
    }

    /// Makes every blob older than the hour that `prune` leaves them.
    public func letAnHourPass() {
        let present = blobs.withLock { Set($0.keys) }
        old.withLock { $0 = present }
    }
}

private final class InMemoryBlobReceiver: BlobReceiver {
    private let blob: Digest
    private let limit: Int64
    private let digest: @Sendable ([UInt8]) -> Digest
    private let keep: @Sendable ([UInt8]) -> Void
    private let received = Mutex<[UInt8]>([])

    init(
        blob: Digest, limit: Int64, digest: @escaping @Sendable ([UInt8]) -> Digest,
        keep: @escaping @Sendable ([UInt8]) -> Void
    ) {
        self.blob = blob
        self.limit = limit
        self.digest = digest
        self.keep = keep
    }

    func write(_ bytes: [UInt8]) async throws(StoreFailure) {
        let fits = received.withLock { received in
            guard Int64(received.count) + Int64(bytes.count) <= limit else { return false }
            received += bytes
            return true
        }
        guard fits else { throw .rejected("blob \(blob.short) is larger than \(limit) bytes") }
    }

    func finish() async throws(StoreFailure) {
        let bytes = received.withLock { $0 }
        let actual = digest(bytes)
        guard actual == blob else {
            throw .rejected("the bytes of blob \(blob.short) have the digest \(actual.short)")
        }
        keep(bytes)
    }

    func cancel() async {
        received.withLock { $0 = [] }
    }
}
