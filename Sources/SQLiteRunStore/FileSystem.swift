// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Files
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

/// Whether this user may write next to nothing more where a file is.
func hasNoRoom(beside path: String) -> Bool {
    var result = statvfs()
    guard statvfs(parentDirectory(of: path), &result) == 0 else { return false }
    return UInt64(result.f_bavail) * UInt64(result.f_frsize) < 256 << 10
}

extension StoreFailure {
    init(_ failure: FileFailure) {
        self =
            failure.number == 0
            ? .io("\(failure)")
            : systemFailure(failure.operation, failure.path, failure.number)
    }
}

/// What a store does with files, whose failures are its own.
func onDisk<Value>(
    _ work: () throws(FileFailure) -> Value
) throws(StoreFailure) -> Value {
    do throws(FileFailure) {
        return try work()
    } catch {
        throw StoreFailure(error)
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
