// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Removes everything in a directory and leaves the directory.
///
/// Works with descriptors, never with paths below the first, and opens no link: whoever may write in the directory cannot make
/// it remove anything elsewhere. Another file system below it is left alone.
///
/// - Returns: how many entries at the top were removed.
func emptyDirectory(_ path: String) throws(SystemFailure) -> Int {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else {
        if errno == ENOENT { return 0 }
        throw SystemFailure(errno: "open the directory \(path)")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw SystemFailure(errno: "inspect \(path)") }
    return try removeEntries(of: descriptor, at: path, device: status.st_dev, depth: 0)
}

private func removeEntries(
    of directory: Int32, at path: String, device: dev_t, depth: Int
) throws(SystemFailure) -> Int {
    guard depth < 100 else { throw SystemFailure("\(path) is nested more than 100 levels deep") }
    var count = 0
    for name in try entries(of: directory, at: path) {
        // The system's own bytes: a name need not be UTF-8.
        let shown = String(decoding: name.map { UInt8(bitPattern: $0) }.dropLast(), as: UTF8.self)
        if unlinkat(directory, name, 0) == 0 || errno == ENOENT {
            count += 1
            continue
        }
        guard errno == EISDIR || errno == EPERM else {
            throw SystemFailure(errno: "remove \(path)/\(shown)")
        }
        let child = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard child >= 0 else { throw SystemFailure(errno: "open \(path)/\(shown)") }
        defer { close(child) }
        var status = stat()
        guard fstat(child, &status) == 0, status.st_dev == device else {
            throw SystemFailure("\(path)/\(shown) is another file system, which is left alone")
        }
        _ = try removeEntries(of: child, at: "\(path)/\(shown)", device: device, depth: depth + 1)
        guard unlinkat(directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT || errno == ENOTEMPTY
        else {
            throw SystemFailure(errno: "remove \(path)/\(shown)")
        }
        count += 1
    }
    return count
}

/// The names in a directory, each as it is on disk, with its zero byte.
private func entries(of directory: Int32, at path: String) throws(SystemFailure) -> [[CChar]] {
    // closedir closes its descriptor, so it gets one of its own.
    let copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard copy >= 0, let stream = fdopendir(copy) else {
        throw SystemFailure(errno: "read \(path)")
    }
    defer { closedir(stream) }
    let dots: [[CChar]] = [[46, 0], [46, 46, 0]]
    var names: [[CChar]] = []
    while let entry = readdir(stream) {
        // SAFETY: the kernel ends each name within the field with a zero byte; the bytes are copied out of it.
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
        }
        if !dots.contains(name) { names.append(name) }
    }
    return names
}
