// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A system call that failed, in words.
struct SystemFailure: Error, CustomStringConvertible {
    var message: String
    var description: String { message }

    init(_ message: String) { self.message = message }

    /// Adds what the last call said: `cannot open /x: Permission denied`.
    init(errno what: String) { message = "cannot \(what): \(String(cString: strerror(errno)))" }
}

/// Reads a small text file.
func readText(_ path: String, atMost limit: Int) -> Result<String, SystemFailure> {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return .failure(SystemFailure(errno: "open \(path)")) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return .failure(SystemFailure(errno: "read \(path)")) }
        if count == 0 { break }
        bytes += chunk[..<count]
        guard bytes.count <= limit else {
            return .failure(SystemFailure("\(path) has more than \(limit) bytes"))
        }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        return .failure(SystemFailure("\(path) is not UTF-8"))
    }
    return .success(text)
}

/// Writes all bytes to a descriptor, or says why not.
func writeAll(_ bytes: some Sequence<UInt8>, to descriptor: Int32) -> Bool {
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
        // SAFETY: pointer and count are those of the bytes, which live as long as the call.
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { return false }
    }
    return true
}

/// Makes a directory when it is absent.
func makeDirectory(_ path: String, mode: UInt32) throws(SystemFailure) {
    guard mkdir(path, mode) != 0, errno != EEXIST else { return }
    throw SystemFailure(errno: "make the directory \(path)")
}
