// SPDX-License-Identifier: Apache-2.0

internal import ContentDigest
internal import Synchronization
internal import UpgradeModel

/// Contents that are fetched many at a time.
extension ReleaseStore {
    /// What one fetch brings: one content from where an earlier attempt ended, or many small ones.
    enum Load {
        case single(BundleManifest.Entry)
        case pack([BundleManifest.Entry])
    }

    /// The most of one pack, as ``BlobSource`` promises.
    private static let packFiles = 512
    private static let packBytes: Int64 = 2 << 20
    private static let smallBytes: Int64 = 256 << 10

    /// - Parameter begun: the contents of which a part is here; they go on where they ended.
    static func loads(_ missing: [BundleManifest.Entry], begun: Set<Digest>) -> [Load] {
        var loads: [Load] = []
        var pack: [BundleManifest.Entry] = []
        var bytes: Int64 = 0
        func close() {
            if pack.count == 1 { loads.append(.single(pack[0])) }
            if pack.count > 1 { loads.append(.pack(pack)) }
            (pack, bytes) = ([], 0)
        }
        for entry in missing {
            guard entry.size <= smallBytes, !begun.contains(entry.digest) else {
                loads.append(.single(entry))
                continue
            }
            if pack.count == packFiles || bytes + entry.size > packBytes { close() }
            pack.append(entry)
            bytes += entry.size
        }
        close()
        return loads
    }

    /// Fetches many small contents.
    ///
    /// - Returns: those that the source did not hand over; each is to be fetched by itself.
    func fetch(
        _ entries: [BundleManifest.Entry], _ source: any BlobSource, _ meter: ProgressMeter
    ) async throws(ReleaseFailure) -> [BundleManifest.Entry] {
        let unpacker = Unpacker(entries, layout, files, meter)
        do {
            _ = try await source.fetchPack(entries.map(\.digest)) { unpacker.store($0, $1) }
        } catch {
            if let failure = unpacker.end().failure { throw failure }
            let isCancelled = Task.isCancelled
            throw ReleaseFailure(
                isCancelled ? .cancelled : .fetchFailed,
                "\(entries.count) files were not fetched to their end: "
                    + (isCancelled ? "cancelled" : "\(error)"))
        }
        let ended = unpacker.end()
        if let failure = ended.failure { throw failure }
        verifiedBlobs.formUnion(ended.arrived)
        return entries.filter { !ended.arrived.contains($0.digest) }
    }
}

/// Takes the contents of one pack: verified in memory, then written where fetched contents are.
private final class Unpacker: Sendable {
    private struct State {
        var arrived: Set<Digest> = []
        var failure: ReleaseFailure?
        var isOver = false
    }

    private let wanted: [Digest: BundleManifest.Entry]
    private let layout: ReleaseLayout
    private let files: FileSystem
    private let meter: ProgressMeter
    private let state = Mutex(State())

    init(
        _ entries: [BundleManifest.Entry], _ layout: ReleaseLayout, _ files: FileSystem,
        _ meter: ProgressMeter
    ) {
        wanted = Dictionary(
            entries.map { ($0.digest, $0) }, uniquingKeysWith: { first, _ in first })
        self.layout = layout
        self.files = files
        self.meter = meter
    }

    func store(_ digest: Digest, _ bytes: [UInt8]) -> Bool {
        // What was not asked for is passed over: the source said it by its own mistake.
        guard let entry = wanted[digest] else { return true }
        let isStored = state.withLock { state in
            guard !state.isOver, state.failure == nil else { return false }
            guard !state.arrived.contains(digest) else { return true }
            do throws(ReleaseFailure) {
                guard Int64(bytes.count) == entry.size, Digest.sha256(of: bytes) == digest else {
                    throw wrongContent(entry, "other content came")
                }
                // A part of it, should this be cut off, is not what its name says, and is found out by whoever looks.
                try files.writeUnsynced(bytes, to: layout.blob(digest), mode: 0o600)
                state.arrived.insert(digest)
                return true
            } catch {
                state.failure = error
                return false
            }
        }
        if isStored { meter.add(entry.size) }
        return isStored
    }

    func end() -> (arrived: Set<Digest>, failure: ReleaseFailure?) {
        state.withLock { state in
            state.isOver = true
            return (state.arrived, state.failure)
        }
    }
}
