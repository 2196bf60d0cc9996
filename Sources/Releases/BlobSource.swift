// SPDX-License-Identifier: Apache-2.0

internal import Files
internal import Glibc
internal import Synchronization
public import UpgradeModel

/// Where a store gets the blobs that it lacks.
public protocol BlobSource: Sendable {
    /// Writes the bytes of a blob from `offset` to its end into the sink, in order.
    ///
    /// Called for several blobs at once. What arrives is verified by the store; the source need not.
    ///
    /// - Throws: anything, to say that the rest did not come. The next call goes on after what has been written.
    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws
    /// Hands over small blobs, each whole, in any order: many in one request.
    ///
    /// - Parameters:
    ///   - digests: at most 512, of at most 256 KiB each and 2 MiB together.
    ///   - receive: called from one thread at a time; false when the source must stop.
    /// - Returns: false when the source has no such way; nothing has been taken then, and each is fetched by itself.
    func fetchPack(
        _ digests: [Digest], into receive: @escaping @Sendable (Digest, [UInt8]) -> Bool
    ) async throws -> Bool
}

extension BlobSource {
    public func fetchPack(
        _ digests: [Digest], into receive: @escaping @Sendable (Digest, [UInt8]) -> Bool
    ) async throws -> Bool { false }
}

/// Takes the bytes of one blob into a file. Can be used from any thread, by one at a time.
public final class BlobSink: Sendable {
    /// The whole blob, in bytes.
    public let expectedSize: Int64
    private let path: String
    private let onProgress: @Sendable (Int64) -> Void

    private struct State {
        var descriptor: Int32
        var written: Int64
        var failure: ReleaseFailure?
    }
    private let state: Mutex<State>

    /// - Parameter onProgress: called with the number of bytes added; negative after `restart`.
    init(
        appendingTo path: String, expectedSize: Int64, _ files: FileSystem,
        onProgress: @escaping @Sendable (Int64) -> Void
    ) throws(ReleaseFailure) {
        try files.beforeChange?("open \(path)")
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw files.failure("create", path) }
        let end = lseek(descriptor, 0, SEEK_END)
        self.path = path
        self.expectedSize = expectedSize
        self.onProgress = onProgress
        state = Mutex(State(descriptor: descriptor, written: Int64(max(0, end))))
    }

    deinit { finish() }

    /// Appends bytes. Blocks for the write, not for the disk.
    ///
    /// - Returns: false when the source must stop: more bytes than the blob has, a full disk, or the store has gone on.
    ///
    /// SAFETY: the bytes are the caller's for the length of the call; they are written or dropped before it returns.
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let isTaken = state.withLock { state in
            guard state.descriptor >= 0, state.failure == nil else { return false }
            guard Int64(bytes.count) <= expectedSize - state.written else {
                state.failure = ReleaseFailure(
                    .wrongContent,
                    "more than \(expectedSize) bytes came for \(path), which is its size")
                return false
            }
            do throws(FileFailure) {
                try writeAll(bytes, to: state.descriptor, path)
            } catch {
                state.failure = ReleaseFailure(error)
                return false
            }
            state.written += Int64(bytes.count)
            return true
        }
        if isTaken { onProgress(Int64(bytes.count)) }
        return isTaken
    }

    /// Forgets what has been written: for a source that can only begin at the beginning.
    public func restart() -> Bool {
        let dropped = state.withLock { state -> Int64? in
            guard state.descriptor >= 0, ftruncate(state.descriptor, 0) == 0,
                lseek(state.descriptor, 0, SEEK_SET) == 0
            else { return nil }
            defer { state.written = 0 }
            return state.written
        }
        if let dropped { onProgress(-dropped) }
        return dropped != nil
    }

    /// Closes the file; later writes are refused. Why a write was refused, if one was.
    @discardableResult
    func finish() -> ReleaseFailure? {
        state.withLock { state in
            if state.descriptor >= 0 { close(state.descriptor) }
            state.descriptor = -1
            return state.failure
        }
    }
}

/// Adds up the bytes of fetches that run beside one another.
final class ProgressMeter: Sendable {
    private let state: Mutex<StagingProgress>
    private let report: @Sendable (StagingProgress) -> Void

    init(_ start: StagingProgress, _ report: @escaping @Sendable (StagingProgress) -> Void) {
        state = Mutex(start)
        self.report = report
        report(start)
    }

    func add(_ bytes: Int64) {
        report(
            state.withLock { state in
                state.bytesDone += bytes
                return state
            })
    }
}
