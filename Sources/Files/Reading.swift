// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The bytes of a regular file, a link followed unless the caller says otherwise; a pipe or a device is a failure and never waited for.
///
/// - Parameter limit: more bytes than this are a failure, however the file grows while it is read.
public func readFile(
    _ path: String, atMost limit: Int, followsLinks: Bool = true
) throws(FileFailure) -> [UInt8] {
    // Without O_NONBLOCK, opening a pipe that has no writer would wait for one.
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followsLinks ? 0 : O_NOFOLLOW)
    let descriptor = open(path, flags)
    guard descriptor >= 0 else { throw .last("open", path) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .last("inspect", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
        throw FileFailure("read", path, reason: "it is not a regular file")
    }
    return try readAll(from: descriptor, path, atMost: limit)
}

/// As ``readFile(_:atMost:followsLinks:)``; bytes that are not UTF-8 are a failure.
public func readTextFile(_ path: String, atMost limit: Int) throws(FileFailure) -> String {
    let bytes = try readFile(path, atMost: limit)
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw FileFailure("read", path, reason: "it is not UTF-8")
    }
    return text
}

/// What is left to read from a descriptor.
///
/// - Parameter path: for the words of a failure.
public func readAll(
    from descriptor: Int32, _ path: String, atMost limit: Int
) throws(FileFailure) -> [UInt8] {
    var bytes: [UInt8] = []
    // No larger than what may come: hundreds of small files of /proc are read while writers wait.
    var chunk = [UInt8](repeating: 0, count: min(65_536, max(1, limit) + 1))
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count == 0 { return bytes }
        guard count > 0 else {
            if errno == EINTR { continue }
            throw .last("read", path)
        }
        bytes += chunk[..<count]
        guard bytes.count <= limit else {
            throw FileFailure("read", path, reason: "it has more than \(limit) bytes")
        }
    }
}
