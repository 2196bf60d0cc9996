// SPDX-License-Identifier: Apache-2.0

internal import CFiles
internal import ContentDigest
import Files
import Glibc
public import RunStore
public import UpgradeModel

/// Many small blobs at once: one turn of a lane and one sync for all of them, where each had its own.
extension FileBlobStore {
    /// From so many files on, one sync of the file system is cheaper than one a file and directory.
    private static let manyFiles = 16

    public func missing(of blobs: [Digest], renews: Bool) async throws(StoreFailure) -> [Digest] {
        let paths = blobs.map { ($0, path(of: $0)) }
        return try await lanes.run(blobs.first?.hashValue ?? 0) { () throws(StoreFailure) in
            var missing: [Digest] = []
            for (blob, path) in paths {
                let isThere =
                    renews ? utimensat(AT_FDCWD, path, nil, 0) == 0 : access(path, F_OK) == 0
                if isThere { continue }
                guard errno == ENOENT else { throw systemFailure("inspect", path) }
                missing.append(blob)
            }
            return missing
        }
    }

    public func readWhole(_ blobs: [Digest], limit: Int) async throws(StoreFailure) -> [[UInt8]] {
        let paths = blobs.map { ($0, path(of: $0)) }
        return try await lanes.run(blobs.first?.hashValue ?? 0) { () throws(StoreFailure) in
            var contents: [[UInt8]] = []
            for (blob, path) in paths {
                do throws(FileFailure) {
                    contents.append(try readFile(path, atMost: limit, followsLinks: false))
                } catch {
                    throw error.number == ENOENT ? .notFound("blob \(blob)") : .io("\(error)")
                }
            }
            return contents
        }
    }

    public func store(_ blobs: [(digest: Digest, bytes: [UInt8])]) async throws(StoreFailure) {
        for blob in blobs {
            let actual = Digest.sha256(of: blob.bytes)
            guard actual == blob.digest else {
                throw .rejected(
                    "the bytes of blob \(blob.digest.short) have the digest \(actual.short)")
            }
        }
        let number = UInt64.random(in: 0 ... .max)
        let files = blobs.map { blob in
            (
                bytes: blob.bytes,
                temporary: "\(incoming)/\(blob.digest).\(String(number, radix: 36))",
                final: path(of: blob.digest)
            )
        }
        let size = blobs.reduce(0) { $0 + Int64($1.bytes.count) }
        try await lanes.run(Int(truncatingIfNeeded: number)) { () throws(StoreFailure) in
            defer { for file in files { unlink(file.temporary) } }
            try self.checkRoom(for: size)
            try onDisk { () throws(FileFailure) in
                for file in files {
                    try writeFile(file.temporary, file.bytes, mode: 0o600, isSynced: false)
                }
            }
            try self.sync(files.map(\.temporary))
            var directories: Set<String> = []
            for file in files {
                let directory = parentDirectory(of: file.final)
                if directories.insert(directory).inserted {
                    try onDisk { () throws(FileFailure) in
                        try makeDirectories(directory, mode: 0o700)
                    }
                }
                guard rename(file.temporary, file.final) == 0 else {
                    throw systemFailure("rename", file.temporary)
                }
            }
            try self.sync(directories.sorted())
        }
    }

    /// What these files and directories hold is on the disk when this returns.
    private func sync(_ paths: [String]) throws(StoreFailure) {
        let isMany = paths.count >= Self.manyFiles
        for path in isMany ? Array(paths.prefix(1)) : paths {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw systemFailure("open", path) }
            defer { _ = Glibc.close(descriptor) }
            guard (isMany ? sluice_syncfs(descriptor) : fsync(descriptor)) == 0 else {
                throw systemFailure("sync", path)
            }
        }
    }
}
