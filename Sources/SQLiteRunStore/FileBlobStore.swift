// SPDX-License-Identifier: Apache-2.0

import Files
import FoundationEssentials
import Glibc
public import RunStore
public import UpgradeModel

/// Blobs as files, `DIRECTORY/blobs/ab/abcd…`, named by their digest; unfinished ones in `DIRECTORY/blobs/incoming`.
///
/// A name appears when its bytes are verified and synced, never before. Files are only ever added and removed, so a reader needs
/// no lock. Calls block on threads of this store, not on the shared pool.
public final class FileBlobStore: BlobStore {
    /// A blob that nobody asked to keep stays this long, in seconds: its run may be about to start.
    static let grace = 3600
    /// The most bytes of one `read`.
    static let readLimit = 4 * 1024 * 1024

    private let root: String
    private let reserve: Int64
    let lanes = BlockingLanes(count: 4, label: "sluice.blobs")

    /// - Parameter reserve: bytes of the disk that blobs leave free, so that the journal on the same disk can go on.
    public init(directory: String, reserve: Int64 = 64 * 1024 * 1024) async throws(StoreFailure) {
        root = "\(directory)/blobs"
        self.reserve = reserve
        let incoming = "\(root)/incoming"
        try await lanes.run(0) { () throws(StoreFailure) in
            try onDisk { () throws(FileFailure) in try makeDirectories(incoming, mode: 0o700) }
        }
    }

    var incoming: String { "\(root)/incoming" }

    /// - Throws: `.full` when so many bytes more would take what is kept for the journal.
    func checkRoom(for bytes: Int64) throws(StoreFailure) {
        let free = try bytesFree(at: root)
        guard free - bytes >= reserve else {
            throw .full(
                """
                \(free / 1_048_576) MiB are left on the disk of \(root), and \(reserve / 1_048_576) MiB of them are \
                kept for the journal; free space, then try again
                """)
        }
    }

    func path(of blob: Digest) -> String { "\(root)/\(blob.hexadecimal.prefix(2))/\(blob)" }

    public func size(of blob: Digest) async throws(StoreFailure) -> Int64? {
        let path = path(of: blob)
        return try await lanes.run(blob.hashValue) { () throws(StoreFailure) in
            try sizeOfFile(path)
        }
    }

    public func renew(_ blob: Digest) async throws(StoreFailure) -> Int64? {
        let path = path(of: blob)
        return try await lanes.run(blob.hashValue) { () throws(StoreFailure) in
            guard utimensat(AT_FDCWD, path, nil, 0) == 0 else {
                guard errno == ENOENT else { throw systemFailure("renew", path) }
                return nil
            }
            return try sizeOfFile(path)
        }
    }

    public func space() async throws(StoreFailure) -> DiskSpace? {
        let root = root
        let reserve = reserve
        return try await lanes.run(0) { () throws(StoreFailure) in
            DiskSpace(free: try bytesFree(at: root), reserve: reserve)
        }
    }

    public func read(_ blob: Digest, offset: Int64, length: Int) async throws(StoreFailure)
        -> [UInt8]
    {
        let path = path(of: blob)
        guard offset >= 0, length > 0 else { return [] }
        // Readers of one blob come at the same time from many nodes: spread by place, not by blob.
        return try await lanes.run(blob.hashValue ^ Int(truncatingIfNeeded: offset >> 16)) {
            () throws(StoreFailure) in
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                throw errno == ENOENT ? .notFound("blob \(blob)") : systemFailure("open", path)
            }
            defer { _ = Glibc.close(descriptor) }
            return try readUpTo(min(length, Self.readLimit), at: offset, of: descriptor, path)
        }
    }

    public func receive(_ blob: Digest, limit: Int64) async throws(StoreFailure) -> any BlobReceiver
    {
        let number = UInt64.random(in: 0 ... .max)
        let temporary = "\(root)/incoming/\(blob).\(String(number, radix: 36))"
        let final = path(of: blob)
        let reserve = reserve
        let lane = Int(truncatingIfNeeded: number)
        let descriptor = try await lanes.run(lane) { () throws(StoreFailure) in
            let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw systemFailure("make", temporary) }
            return descriptor
        }
        return FileBlobReceiver(
            blob: blob, limit: limit, reserve: reserve, descriptor: descriptor,
            temporary: temporary,
            final: final, lanes: lanes, lane: lane)
    }

    public func prune(keeping kept: Set<Digest>) async throws(StoreFailure) {
        let root = root
        let found = try await lanes.run(0) { () throws(StoreFailure) in
            var found: [(blob: Digest?, path: String)] = []
            for directory in try names(in: root) {
                for name in try names(in: "\(root)/\(directory)") {
                    found.append((Digest(name), "\(root)/\(directory)/\(name)"))
                }
            }
            return found
        }
        for (blob, path) in found where blob.map({ !kept.contains($0) }) ?? true {
            // On the blob's own lane, so that it cannot be renewed between the look at its age and its end.
            try await lanes.run(blob?.hashValue ?? 0) { () throws(StoreFailure) in
                try removeIfOld(path, seconds: Self.grace)
            }
        }
    }
}

private func readUpTo(
    _ length: Int, at offset: Int64, of descriptor: Int32, _ path: String
) throws(StoreFailure) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < length {
        var part = [UInt8](repeating: 0, count: length - bytes.count)
        let count = pread(descriptor, &part, part.count, off_t(offset) + off_t(bytes.count))
        if count < 0 && errno == EINTR { continue }
        if count < 0 { throw systemFailure("read", path) }
        if count == 0 { break }
        // Nearly always all of it at once, and then nothing is copied.
        if count == length { return part }
        bytes += part.prefix(count)
    }
    return bytes
}

/// - Returns: `nil` when there is no such file.
private func sizeOfFile(_ path: String) throws(StoreFailure) -> Int64? {
    var status = stat()
    if stat(path, &status) == 0 { return Int64(status.st_size) }
    guard errno == ENOENT else { throw systemFailure("inspect", path) }
    return nil
}

private func bytesFree(at path: String) throws(StoreFailure) -> Int64 {
    var space = statvfs()
    guard statvfs(path, &space) == 0 else { throw systemFailure("inspect", path) }
    return Int64(space.f_bavail) * Int64(space.f_frsize)
}

private func names(in directory: String) throws(StoreFailure) -> [String] {
    do {
        return try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    } catch {
        throw .io("cannot list \(directory): \(error)")
    }
}

private func removeIfOld(_ path: String, seconds: Int) throws(StoreFailure) {
    var status = stat()
    guard stat(path, &status) == 0 else {
        if errno == ENOENT { return }
        throw systemFailure("inspect", path)
    }
    guard time(nil) - status.st_mtim.tv_sec > seconds else { return }
    guard unlink(path) == 0 || errno == ENOENT else { throw systemFailure("remove", path) }
}
