// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Writes all bytes to a descriptor, however often the system takes only a part.
///
/// - Parameter path: for the words of a failure.
public func writeAll(
    _ bytes: some Collection<UInt8>, to descriptor: Int32, _ path: String
) throws(FileFailure) {
    let number =
        bytes.withContiguousStorageIfAvailable { writeAll($0, to: descriptor) }
        ?? Array(bytes).withUnsafeBufferPointer { writeAll($0, to: descriptor) }
    guard number == 0 else { throw FileFailure("write", path, number) }
}

/// - Returns: the error number of the call that failed, or 0.
private func writeAll(_ bytes: UnsafeBufferPointer<UInt8>, to descriptor: Int32) -> Int32 {
    var rest = bytes[...]
    while !rest.isEmpty {
        // SAFETY: the bytes are only read, during the call and within their count.
        let count = write(descriptor, UnsafeBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count > 0 {
            rest = rest.dropFirst(count)
        } else if count < 0, errno != EINTR {
            return errno
        }
    }
    return 0
}

/// What of a file that is replaced is on the disk when the call returns.
public enum Durability: Sendable {
    /// Nothing: after a power cut the old content may be back.
    case none
    /// The content; the name when its directory is synced, by the caller, for several files at once.
    case content
    /// Content and name.
    case whole
}

/// Puts a file with this content in the place of what is there: the name holds the old content or the new one, never a part.
///
/// Writes `.NAME.new` beside it, then renames that. A process that died in the middle leaves it, and the next call takes it over, so a
/// path has one writer at a time.
///
/// - Parameter mode: of the new file, whatever the umask.
public func replaceFile(
    _ path: String, with bytes: some Collection<UInt8>, mode: UInt32,
    durability: Durability = .whole
) throws(FileFailure) {
    let directory = parentDirectory(of: path)
    let name = path.split(separator: "/").last ?? ""
    let temporary = "\(directory)/.\(name).new"
    do throws(FileFailure) {
        try writeFile(temporary, bytes, mode: mode, isSynced: durability != .none)
        guard rename(temporary, path) == 0 else { throw .last("replace", path) }
    } catch {
        unlink(temporary)
        throw error
    }
    if durability == .whole { try syncDirectory(directory) }
}

/// Writes a new file, or one that is there anew and in place, and brings its content to the disk when asked to.
///
/// - Parameter mode: of the file when all is written, whatever the umask; until then it is its owner's alone.
public func writeFile(
    _ path: String, _ bytes: some Collection<UInt8>, mode: UInt32, isSynced: Bool
) throws(FileFailure) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw .last("create", path) }
    defer { close(descriptor) }
    try writeAll(bytes, to: descriptor, path)
    guard fchmod(descriptor, mode) == 0 else { throw .last("set the mode of", path) }
    if isSynced, fsync(descriptor) != 0 { throw .last("sync", path) }
}
