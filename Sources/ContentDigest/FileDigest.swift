// SPDX-License-Identifier: Apache-2.0

import Glibc
public import UpgradeModel

/// Why a file's digest could not be taken.
public struct FileDigestError: Error, Hashable, Sendable, CustomStringConvertible {
    public var path: String
    /// What was tried: `open`, `read`.
    public var operation: String
    /// The `errno` of the call that failed.
    public var errorNumber: Int32

    public init(path: String, operation: String, errorNumber: Int32) {
        self.path = path
        self.operation = operation
        self.errorNumber = errorNumber
    }

    public var description: String {
        "cannot \(operation) \(path): \(String(cString: strerror(errorNumber)))"
    }
}

/// The SHA-256 and the size in bytes of a regular file, read once through a bounded buffer of 256 KiB.
///
/// Links are followed; a directory, a pipe or a device is refused (`EINVAL`), because reading it may never end. The call
/// blocks: large files are hashed off the shared pool.
///
/// - Throws: ``FileDigestError`` with the system's reason.
public func digest(ofFileAt path: String) throws(FileDigestError) -> (digest: Digest, size: Int64) {
    // Without O_NONBLOCK, opening a pipe that has no writer would wait for one.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        throw FileDigestError(path: path, operation: "open", errorNumber: errno)
    }
    defer { _ = close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
        throw FileDigestError(path: path, operation: "inspect", errorNumber: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw FileDigestError(path: path, operation: "read", errorNumber: EINVAL)
    }

    var hasher = SHA256Hasher()
    var size: Int64 = 0
    // SAFETY: allocated here and freed on every way out; only the bytes that read() filled are looked at.
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 16)
    defer { buffer.deallocate() }
    while true {
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        if count == 0 { break }
        if count < 0 {
            if errno == EINTR { continue }
            throw FileDigestError(path: path, operation: "read", errorNumber: errno)
        }
        hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        size += Int64(count)
    }
    return (hasher.finalize(), size)
}
