// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Makes names durable that were added to, or removed from, a directory.
public func syncDirectory(_ path: String) throws(FileFailure) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .last("open", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw .last("sync", path) }
}

/// Makes a directory when it is absent, with exactly this mode whatever the umask; one that is there stays as it is.
///
/// - Returns: whether it was made; the name is durable once its parent has been synced.
@discardableResult
public func makeDirectory(_ path: String, mode: UInt32) throws(FileFailure) -> Bool {
    guard mkdir(path, mode) == 0 else {
        let number = errno
        var status = stat()
        guard number == EEXIST, stat(path, &status) == 0 else {
            throw FileFailure("make the directory", path, number)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw FileFailure("make the directory", path, reason: "a file is in its place")
        }
        return false
    }
    guard chmod(path, mode) == 0 else { throw .last("set the mode of", path) }
    return true
}

/// Makes a directory and those above it, each of them durable.
public func makeDirectories(_ path: String, mode: UInt32) throws(FileFailure) {
    let parent = parentDirectory(of: path)
    var status = stat()
    if parent != path, stat(parent, &status) != 0, errno == ENOENT {
        try makeDirectories(parent, mode: mode)
    }
    if try makeDirectory(path, mode: mode) { try syncDirectory(parent) }
}

/// The directory that a path's last name is in: `.` for a bare name, `/` for what is at the top.
public func parentDirectory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// The names in a directory, as the system has them: bytes, in no order, without `.` and `..`.
public func directoryNames(_ path: String) throws(FileFailure) -> [[UInt8]] {
    guard let stream = opendir(path) else { throw .last("list", path) }
    defer { closedir(stream) }
    var names: [[UInt8]] = []
    while true {
        errno = 0
        guard let entry = readdir(stream) else {
            guard errno == 0 else { throw .last("list", path) }
            return names
        }
        // SAFETY: the kernel ends each name within the field with a zero byte; the bytes are copied out of it before the next
        // readdir.
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
        if name != [46] && name != [46, 46] { names.append(name) }
    }
}

/// What a symbolic link says, followed no further.
public func linkTarget(_ path: String) throws(FileFailure) -> String {
    var text: String?
    // SAFETY: at most as many bytes as the buffer has are written to it, and no more than were written are read.
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
        guard let start = buffer.baseAddress else { return }
        let count = readlink(path, start.assumingMemoryBound(to: CChar.self), buffer.count)
        if count >= 0 { text = String(decoding: buffer[..<count], as: UTF8.self) }
    }
    guard let text else { throw .last("read the link", path) }
    return text
}
