// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Files
import Glibc
import RunStore
import Synchronization
import UpgradeModel

/// One blob on its way to a file: written and hashed as it arrives, never in memory as a whole.
final class FileBlobReceiver: BlobReceiver {
    private let blob: Digest
    private let limit: Int64
    private let reserve: Int64
    private let final: String
    private let lanes: BlockingLanes
    private let lane: Int
    private let incoming: Mutex<IncomingFile?>

    init(
        blob: Digest, limit: Int64, reserve: Int64, descriptor: Int32, temporary: String,
        final: String,
        lanes: BlockingLanes, lane: Int
    ) {
        self.blob = blob
        self.limit = limit
        self.reserve = reserve
        self.final = final
        self.lanes = lanes
        self.lane = lane
        incoming = Mutex(IncomingFile(descriptor: descriptor, temporary: temporary))
    }

    func write(_ bytes: [UInt8]) async throws(StoreFailure) {
        try await lanes.run(lane) { () throws(StoreFailure) in try self.add(bytes) }
    }

    func finish() async throws(StoreFailure) {
        try await lanes.run(lane) { () throws(StoreFailure) in try self.publish() }
    }

    func cancel() async {
        try? await lanes.run(lane) { () throws(StoreFailure) in
            self.incoming.withLock { $0 = nil }
        }
    }

    private func add(_ bytes: [UInt8]) throws(StoreFailure) {
        let result: Result<Void, StoreFailure> = incoming.withLock { incoming in
            do throws(StoreFailure) {
                guard incoming != nil else { throw .rejected("blob \(blob.short) was given up") }
                try incoming?.add(bytes, limit: limit, reserve: reserve, blob)
                return .success(())
            } catch {
                incoming = nil
                return .failure(error)
            }
        }
        try result.get()
    }

    private func publish() throws(StoreFailure) {
        let result: Result<Void, StoreFailure> = incoming.withLock { slot in
            do throws(StoreFailure) {
                guard var incoming = slot.take() else {
                    throw .rejected("blob \(blob.short) was given up")
                }
                try incoming.publish(as: blob, at: final)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }
}

/// An open file. The end of its life closes and removes it, unless it was renamed to its final place.
private struct IncomingFile: ~Copyable {
    let descriptor: Int32
    let temporary: String
    var hasher: SHA256Hasher? = SHA256Hasher()
    var size: Int64 = 0

    init(descriptor: Int32, temporary: String) {
        self.descriptor = descriptor
        self.temporary = temporary
    }

    deinit {
        _ = Glibc.close(descriptor)
        unlink(temporary)
    }

    mutating func add(
        _ bytes: [UInt8], limit: Int64, reserve: Int64, _ blob: Digest
    ) throws(StoreFailure) {
        size += Int64(bytes.count)
        guard size <= limit else {
            throw .rejected("blob \(blob.short) is larger than \(limit) bytes")
        }
        var space = statvfs()
        if fstatvfs(descriptor, &space) == 0 {
            let free = Int64(space.f_bavail) * Int64(space.f_frsize)
            guard free - Int64(bytes.count) >= reserve else {
                throw .full(
                    """
                    \(free / 1_048_576) MiB are left on the disk of \(temporary), and \(reserve / 1_048_576) MiB of them are \
                    kept for the journal; free space, then try again
                    """)
            }
        }
        try onDisk { () throws(FileFailure) in try writeAll(bytes, to: descriptor, temporary) }
        hasher?.update(bytes)
    }

    /// Digest first, then sync, then the name, then the directory's sync.
    mutating func publish(as blob: Digest, at final: String) throws(StoreFailure) {
        guard let hasher = hasher.take() else { throw .rejected("blob \(blob.short) was given up") }
        let actual = hasher.finalize()
        guard actual == blob else {
            throw .rejected("the bytes of blob \(blob.short) have the digest \(actual.short)")
        }
        guard fsync(descriptor) == 0 else { throw systemFailure("sync", temporary) }
        try onDisk { () throws(FileFailure) in
            try makeDirectories(parentDirectory(of: final), mode: 0o700)
        }
        guard rename(temporary, final) == 0 else { throw systemFailure("rename", temporary) }
        try onDisk { () throws(FileFailure) in try syncDirectory(parentDirectory(of: final)) }
    }
}
