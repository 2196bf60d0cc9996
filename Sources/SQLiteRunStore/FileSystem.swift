// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import RunStore

/// What a failed call of the operating system means for a store.
func systemFailure(_ operation: String, _ path: String, _ number: Int32 = errno) -> StoreFailure {
    let reason = String(cString: strerror(number))
    switch number {
    case ENOSPC, EDQUOT:
        return .full(
            "cannot \(operation) \(path): \(reason); free space on its disk, then try again")
    case EACCES, EPERM, EROFS:
        return .io(
            "cannot \(operation) \(path): \(reason); do it as the coordinator's user, or give another --data"
        )
    case EMFILE, ENFILE:
        return .io("cannot \(operation) \(path): \(reason); \(tooFewDescriptors)")
    case ENOENT, ENOTDIR:
        return .io("cannot \(operation) \(path): \(reason); give another --data")
    default:
        return .io("cannot \(operation) \(path): \(reason)")
    }
}

/// What to do when the process has as many files and connections open as it may.
let tooFewDescriptors =
    "raise the limit of open files (LimitNOFILE= in its unit, or `ulimit -n`), then start it again"

/// Whether the process, or the machine, has no file descriptor left.
func hasNoDescriptorLeft() -> Bool {
    let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return errno == EMFILE || errno == ENFILE }
    _ = Glibc.close(descriptor)
    return false
}

/// Makes the directory, and those above it, for its owner only, and makes the new names durable.
func makeDirectory(_ path: String) throws(StoreFailure) {
    if mkdir(path, 0o700) == 0 {
        try syncDirectory(parent(of: path))
        return
    }
    let number = errno
    switch number {
    case EEXIST:
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw .io("\(path) is not a directory")
        }
    case ENOENT:
        let above = parent(of: path)
        guard above != path else { throw systemFailure("make", path, number) }
        try makeDirectory(above)
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw systemFailure("make", path) }
        try syncDirectory(above)
    default:
        throw systemFailure("make", path, number)
    }
}

/// Makes names durable that were added to, or removed from, a directory.
func syncDirectory(_ path: String) throws(StoreFailure) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw systemFailure("open", path) }
    defer { _ = Glibc.close(descriptor) }
    guard fsync(descriptor) == 0 else { throw systemFailure("sync", path) }
}

func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// Writes all bytes at the end of what has been written so far.
func writeAll(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws(StoreFailure) {
    var left = bytes
    while !left.isEmpty {
        let count = write(descriptor, left, left.count)
        if count < 0 {
            if errno == EINTR { continue }
            throw systemFailure("write", path)
        }
        left.removeFirst(count)
    }
}

/// A few threads of their own for calls that block; the shared pool has one a core.
struct BlockingLanes: Sendable {
    private let queues: [DispatchQueue]

    init(count: Int, label: String) {
        queues = (0..<count).map { DispatchQueue(label: "\(label).\($0)") }
    }

    /// One thread for everything with the same key, in the order of the calls.
    func run<Value: Sendable>(
        _ key: Int, _ work: @escaping @Sendable () throws(StoreFailure) -> Value
    ) async throws(StoreFailure) -> Value {
        let queue = queues[Int(UInt(bitPattern: key) % UInt(queues.count))]
        let result: Result<Value, StoreFailure> = await withCheckedContinuation { continuation in
            queue.async {
                do throws(StoreFailure) {
                    continuation.resume(returning: .success(try work()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}
