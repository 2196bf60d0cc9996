// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import UpgradeModel

extension ReleaseStore {
    /// Brings a release onto this node, complete and verified, and activates nothing.
    ///
    /// Fetches only the contents that no staged release has, several at once, each from where an earlier attempt ended. A
    /// release that is there already is verified; when it is damaged and not active it is made anew. Its assets are in the
    /// pool when this returns.
    ///
    /// - Parameters:
    ///   - manifest: the manifest's bytes, from anybody.
    ///   - release: what the bytes have to be.
    ///   - progress: called from any thread, often; must be quick. Counts only the bytes that have to be fetched.
    ///   - finish: called with the directory of the release's files when they are all there, before anybody else can see it; what
    ///     it adds belongs to the release. Returns whether it may have added anything. Not called for a release that is there already.
    /// - Throws: with the codes `invalidManifest`, `wrongManifest`, `assetConflict` and `noSpace` nothing has been changed, and
    ///   with `wrongContent` nothing is left of the attempt.
    public func stage(
        manifest bytes: [UInt8], as release: ReleaseReference, from source: any BlobSource,
        progress: @escaping @Sendable (StagingProgress) -> Void = { _ in },
        finish: (String) async throws(ReleaseFailure) -> Bool = { _ in false }
    ) async throws(ReleaseFailure) {
        guard !isStaging else {
            throw ReleaseFailure(
                .busy, "another release is being staged on this node; try again after it")
        }
        let manifest = try check(bytes, release)
        isStaging = true
        defer { isStaging = false }
        try removeLeftovers()
        if try isStaged(release) {
            let report = try await verify(release)
            if report.isIntact {
                return try poolAssets(of: manifest, from: filesDirectory(of: release))
            }
            guard try current()?.release != release else {
                throw ReleaseFailure(
                    .damaged,
                    "the active release \(release.identifier) is damaged: \(report.damages[0]); activate another "
                        + "release, then stage this one again")
            }
            try discard(
                layout.release(release.identifier), as: release.identifier, from: layout.releases)
        }
        var copies = try localCopies(for: manifest)
        let missing = manifest.distinctEntries.filter { copies[$0.digest] == nil }
        do throws(ReleaseFailure) {
            try await fetch(missing, of: manifest, source, progress)
        } catch {
            if error.code == .wrongContent { try removeBlobs(of: manifest) }
            throw error
        }
        for entry in missing { copies[entry.digest] = [layout.blob(entry.digest)] }
        let top = try assemble(manifest, copies)
        let hasMore = try await finish("\(top)/files")
        try seal(manifest, bytes, copies, in: top, hasMore: hasMore)
        try removeBlobs(of: manifest)
    }

    /// The most bytes of a socket's path (unix(7)).
    static let longestSocket = 107

    /// Everything that can refuse a release without touching the disk.
    private func check(
        _ bytes: [UInt8], _ release: ReleaseReference
    ) throws(ReleaseFailure) -> BundleManifest {
        let manifest = try BundleManifest(parsing: bytes, limits: configuration.limits)
        guard manifest.reference == release else {
            throw ReleaseFailure(
                .wrongManifest,
                "the manifest is that of \(manifest.reference.identifier), not of \(release.identifier)"
            )
        }
        let socket = socketPath(of: release)
        guard socket.utf8.count <= ReleaseStore.longestSocket else {
            throw ReleaseFailure(
                .invalidManifest,
                "the socket path \(socket) has more than \(ReleaseStore.longestSocket) bytes; shorten the release's name or the template"
            )
        }
        try checkShared()
        try checkAssets(of: manifest)
        return manifest
    }

    /// Removes what earlier attempts left half-made. Fetched blobs stay: they are what makes an attempt resumable.
    func removeLeftovers() throws(ReleaseFailure) {
        for name in try files.names(in: layout.staging)
        where [".tmp", ".trash", ".activation", ".asset"].contains(where: name.hasSuffix) {
            try files.removeTree("\(layout.staging)/\(name)")
        }
    }

    func removeBlobs(of manifest: BundleManifest) throws(ReleaseFailure) {
        let present = Set(try files.names(in: layout.staging))
        for digest in manifest.distinctEntries.map(\.digest) {
            verifiedBlobs.remove(digest)
            for name in ["\(digest).part", "\(digest).blob"] where present.contains(name) {
                try files.remove("\(layout.staging)/\(name)")
            }
        }
    }

    /// Takes something out of its place at once, and deletes it after that.
    func discard(_ path: String, as name: String, from directory: String) throws(ReleaseFailure) {
        try files.removeTree(layout.trash(name))
        try files.rename(path, to: layout.trash(name))
        try files.sync(directory)
        try files.removeTree(layout.trash(name))
    }

    // MARK: - What is here already

    /// For each content of a manifest that this node has: verified files with it, in releases or fetched before.
    func localCopies(for manifest: BundleManifest) throws(ReleaseFailure) -> [Digest: [String]] {
        let wanted = Set(manifest.entries.map(\.digest))
        var copies: [Digest: [String]] = [:]
        var found: Set<Kind> = []
        try forEachStaged { identifier, other throws(ReleaseFailure) in
            for entry in other.entries where wanted.contains(entry.digest) && !isShared(entry.path)
            {
                // One good copy of each kind (plain, executable) is enough.
                let kind = Kind(digest: entry.digest, isExecutable: entry.isExecutable)
                guard !found.contains(kind) else { continue }
                let path = "\(layout.files(identifier))/\(entry.path)"
                if try damage(to: entry, at: path) == nil {
                    found.insert(kind)
                    copies[entry.digest, default: []].append(path)
                }
            }
        }
        let names = Set(try files.names(in: layout.staging))
        for entry in manifest.distinctEntries where names.contains("\(entry.digest).blob") {
            let path = layout.blob(entry.digest)
            if !verifiedBlobs.contains(entry.digest) {
                guard try files.digest(path).digest == entry.digest else { continue }
                verifiedBlobs.insert(entry.digest)
            }
            copies[entry.digest, default: []].append(path)
        }
        return copies
    }

    // MARK: - Fetching

    private func fetch(
        _ missing: [BundleManifest.Entry], of manifest: BundleManifest, _ source: any BlobSource,
        _ progress: @escaping @Sendable (StagingProgress) -> Void
    ) async throws(ReleaseFailure) {
        var done: Int64 = 0
        var begun: Set<Digest> = []
        let names = Set(try files.names(in: layout.staging))
        for entry in missing where names.contains("\(entry.digest).part") {
            begun.insert(entry.digest)
            let part = try files.status(layout.part(entry.digest))
            if let part, part.kind == .file, part.size <= entry.size { done += part.size }
        }
        let total = missing.reduce(0) { $0 + $1.size }
        try checkSpace(bytes: total - done, files: missing.count, manifest)
        let start = StagingProgress(release: manifest.reference, bytesDone: done, bytesTotal: total)
        let meter = ProgressMeter(start, progress)
        let failure = await withTaskGroup(
            of: Result<[BundleManifest.Entry], ReleaseFailure>.self
        ) { group in
            var waiting = ReleaseStore.loads(missing, begun: begun)[...]
            var running = 0
            func startMore() {
                while running < max(1, configuration.parallelFetches), let load = waiting.popFirst()
                {
                    running += 1
                    group.addTask { await self.bring(load, source, meter) }
                }
            }
            startMore()
            var first: ReleaseFailure?
            for await result in group {
                running -= 1
                switch result {
                case .success(let left): waiting += left.map(Load.single)
                // What is wrong in content outweighs what merely did not arrive because of the cancellation.
                case .failure(let failure) where first == nil || failure.code == .wrongContent:
                    first = failure
                    group.cancelAll()
                case .failure: break
                }
                if first == nil { startMore() }
            }
            return first
        }
        if let failure { throw failure }
    }

    /// - Returns: what the source left out, each to be fetched by itself.
    private func bring(
        _ load: Load, _ source: any BlobSource, _ meter: ProgressMeter
    ) async -> Result<[BundleManifest.Entry], ReleaseFailure> {
        do throws(ReleaseFailure) {
            switch load {
            case .single(let entry):
                try await fetch(entry, source, meter)
                return .success([])
            case .pack(let entries): return .success(try await fetch(entries, source, meter))
            }
        } catch { return .failure(error) }
    }

    private static let makingRoom =
        "make room on this file system, or stop the agent there, `sluice-agent prune --keep 2`, and start it"

    private func checkSpace(
        bytes: Int64, files count: Int, _ manifest: BundleManifest
    ) throws(ReleaseFailure) {
        let free = try files.free(at: layout.root)
        let directories = Set(manifest.entries.compactMap { $0.path.parent }).count
        guard free.bytes - bytes >= configuration.reservedBytes else {
            throw ReleaseFailure(
                .noSpace,
                "\(layout.root) has \(free.bytes) bytes free; the release \(manifest.reference.identifier) needs "
                    + "\(bytes) and \(configuration.reservedBytes) must be left; \(ReleaseStore.makingRoom)"
            )
        }
        if let inodes = free.inodes, inodes < Int64(count + directories + 100) {
            throw ReleaseFailure(
                .noSpace,
                "\(layout.root) has \(inodes) inodes free; \(count + directories + 100) are needed; \(ReleaseStore.makingRoom)"
            )
        }
    }

    /// Fetches one content and verifies it. What was there of it before counts only once it has been verified too.
    func fetch(
        _ entry: BundleManifest.Entry, _ source: any BlobSource, _ meter: ProgressMeter
    ) async throws(ReleaseFailure) {
        let part = layout.part(entry.digest)
        var offset: Int64 = 0
        if let before = try files.status(part) {
            // Anything but the beginning of a file is not a part, a link least of all.
            let isPart = before.kind == .file && before.size <= entry.size
            if isPart { offset = before.size } else { try files.removeTree(part) }
        }
        try await append(entry, from: offset, source, meter)
        if try accept(entry) { return }
        guard offset > 0 else { throw wrongContent(entry, "other content came") }
        // The beginning may have been damaged when an earlier attempt was cut off.
        meter.add(-entry.size)
        try await append(entry, from: 0, source, meter)
        guard try accept(entry) else { throw wrongContent(entry, "other content came") }
    }

    private func append(
        _ entry: BundleManifest.Entry, from offset: Int64, _ source: any BlobSource,
        _ meter: ProgressMeter
    ) async throws(ReleaseFailure) {
        let part = layout.part(entry.digest)
        let sink = try BlobSink(appendingTo: part, expectedSize: entry.size, files) {
            meter.add($0)
        }
        defer { sink.finish() }
        guard offset < entry.size else { return }
        do {
            try await source.fetch(entry.digest, from: offset, into: sink)
        } catch {
            if let failure = sink.finish() {
                throw failure.code == .wrongContent ? wrongContent(entry, failure.message) : failure
            }
            let isCancelled = Task.isCancelled
            throw ReleaseFailure(
                isCancelled ? .cancelled : .fetchFailed,
                "\(entry.path) (\(entry.digest.short)) was not fetched to its end: "
                    + (isCancelled ? "cancelled" : "\(error)"))
        }
        if let failure = sink.finish() {
            throw failure.code == .wrongContent ? wrongContent(entry, failure.message) : failure
        }
    }

    /// Whether the part is the whole content. A part that is whole but wrong is removed.
    private func accept(_ entry: BundleManifest.Entry) throws(ReleaseFailure) -> Bool {
        let part = layout.part(entry.digest)
        let (digest, size) = try files.digest(part)
        if digest == entry.digest && size == entry.size {
            try files.rename(part, to: layout.blob(entry.digest))
            verifiedBlobs.insert(entry.digest)
            return true
        }
        guard size == entry.size else {
            if digest == entry.digest { throw wrongContent(entry, "its content has \(size) bytes") }
            throw ReleaseFailure(
                .fetchFailed,
                "\(entry.path) (\(entry.digest.short)) ended after \(size) of \(entry.size) bytes; try again"
            )
        }
        try files.remove(part)
        return false
    }

}

func wrongContent(_ entry: BundleManifest.Entry, _ what: String) -> ReleaseFailure {
    ReleaseFailure(
        .wrongContent,
        "\(entry.path) is refused: the manifest promises \(entry.size) bytes with digest "
            + "\(entry.digest.short), but \(what); bundle and upload the release again")
}

/// A content in one of its two modes.
private struct Kind: Hashable {
    var digest: Digest
    var isExecutable: Bool
}
