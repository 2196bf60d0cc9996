// SPDX-License-Identifier: Apache-2.0

internal import ControlAPI
internal import CurlClient
internal import Files
internal import Releases
internal import UpgradeModel

/// Brings to the coordinator what it lacks of a release: small files in packs, others by themselves, several at once.
struct Upload: Sendable {
    let client: CoordinatorClient
    let prepared: PreparedPlan
    static let atOnce = 6

    struct Progress: Hashable, Sendable {
        var blobs: Int
        var bytes: Int64
        var blobsDone = 0
        var blobsSent = 0
        var bytesDone: Int64 = 0
        var bytesSent: Int64 = 0
    }

    private struct Blob: Sendable {
        var digest: Digest
        var size: Int64
        var body: HTTPBody
        /// Whether the coordinator has been asked and lacks it.
        var isMissing = false
    }

    private struct Brought: Sendable {
        var blobs: Int
        var size: Int64
        var isSent: Bool
    }

    /// - Parameter tell: called after each blob or pack.
    func perform(_ tell: (Progress) -> Void) async throws(CommandFailure) -> Progress {
        let blobs = wanted
        var progress = Progress(blobs: blobs.count, bytes: blobs.reduce(0) { $0 + $1.size })
        let (missing, present) = try await divide(blobs)
        if !present.isEmpty {
            progress.blobsDone = present.count
            progress.bytesDone = present.reduce(0) { $0 + $1.size }
            tell(progress)
        }
        // Of a coordinator that knows no packs nothing is known yet, and each is asked for by itself.
        let small = missing.filter { $0.isMissing && $0.size <= BlobPack.blobBytes }
        let packs = BlobPack.packs(of: small) { $0.size }
        let others = missing.filter { !$0.isMissing || $0.size > BlobPack.blobBytes }.map { [$0] }
        let result = await withTaskGroup(of: Result<Brought, CommandFailure>.self) { group in
            var rest = (packs + others)[...]
            for blobs in rest.prefix(Upload.atOnce) { group.addTask { await bring(blobs) } }
            rest = rest.dropFirst(Upload.atOnce)
            for await result in group {
                switch result {
                case .failure(let failure):
                    group.cancelAll()
                    return Result<Progress, CommandFailure>.failure(failure)
                case .success(let brought):
                    progress.blobsDone += brought.blobs
                    progress.bytesDone += brought.size
                    if brought.isSent {
                        progress.blobsSent += brought.blobs
                        progress.bytesSent += brought.size
                    }
                    tell(progress)
                }
                if let next = rest.popFirst() { group.addTask { await bring(next) } }
            }
            return .success(progress)
        }
        return try result.get()
    }

    private var wanted: [Blob] {
        let encoded = prepared.bundle.manifest.encoded
        return prepared.bundle.manifest.distinctEntries.map { entry in
            Blob(
                digest: entry.digest, size: entry.size,
                body: prepared.bundle.contents[entry.digest].map { .bytes($0) }
                    ?? .file(path: prepared.bundle.file(of: entry)))
        } + [
            Blob(
                digest: prepared.release.manifest, size: Int64(encoded.count),
                body: .bytes(encoded))
        ]
    }

    /// What the coordinator lacks, as far as it says so of many at once, and what it has.
    private func divide(
        _ blobs: [Blob]
    ) async throws(CommandFailure) -> (missing: [Blob], present: [Blob]) {
        var missing: [Blob] = []
        var present: [Blob] = []
        var rest = blobs[...]
        while !rest.isEmpty {
            let part = rest.prefix(BlobPack.blobs)
            guard let lacking = try await client.missing(of: part.map(\.digest)) else {
                return (blobs, [])
            }
            let lacks = Set(lacking)
            for var blob in part {
                blob.isMissing = lacks.contains(blob.digest)
                if blob.isMissing { missing.append(blob) } else { present.append(blob) }
            }
            rest = rest.dropFirst(part.count)
        }
        return (missing, present)
    }

    private func bring(_ blobs: [Blob]) async -> Result<Brought, CommandFailure> {
        let size = blobs.reduce(0) { $0 + $1.size }
        do throws(CommandFailure) {
            if let blob = blobs.first, blobs.count == 1 {
                if !blob.isMissing, try await client.has(blob.digest) {
                    return .success(Brought(blobs: 1, size: size, isSent: false))
                }
                try await client.put(blob.digest, blob.body)
            } else {
                try await client.put(pack: try pack(blobs))
            }
            return .success(Brought(blobs: blobs.count, size: size, isSent: true))
        } catch { return .failure(error) }
    }

    private func pack(_ blobs: [Blob]) throws(CommandFailure) -> [UInt8] {
        var pack: [UInt8] = []
        pack.reserveCapacity(blobs.reduce(0) { $0 + 36 + Int($1.size) })
        for blob in blobs {
            let bytes: [UInt8]
            switch blob.body {
            case .bytes(let held): bytes = held
            case .none: bytes = []
            case .file(let path):
                do throws(FileFailure) {
                    bytes = try readFile(path, atMost: BlobPack.blobBytes, followsLinks: false)
                } catch { throw CommandFailure(code: "bundle", "\(error)") }
            }
            pack += BlobPack.head(blob.digest, count: bytes.count)
            pack += bytes
        }
        return pack
    }
}
