// SPDX-License-Identifier: Apache-2.0

internal import CurlClient
internal import Releases
internal import UpgradeModel

/// Brings to the coordinator what it lacks of a release, several blobs at once.
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
    }

    /// - Parameter tell: called after each blob.
    func perform(_ tell: (Progress) -> Void) async throws(CommandFailure) -> Progress {
        let manifest = prepared.bundle.manifest
        var blobs = manifest.distinctEntries.map { entry in
            Blob(
                digest: entry.digest, size: entry.size,
                body: .file(path: prepared.bundle.file(of: entry)))
        }
        let encoded = manifest.encoded
        blobs.append(
            Blob(
                digest: prepared.release.manifest, size: Int64(encoded.count), body: .bytes(encoded)
            ))
        var progress = Progress(blobs: blobs.count, bytes: blobs.reduce(0) { $0 + $1.size })
        let result = await withTaskGroup(
            of: Result<(size: Int64, isSent: Bool), CommandFailure>.self
        ) { group in
            var rest = blobs[...]
            for blob in rest.prefix(Upload.atOnce) { group.addTask { await bring(blob) } }
            rest = rest.dropFirst(Upload.atOnce)
            for await result in group {
                switch result {
                case .failure(let failure):
                    group.cancelAll()
                    return Result<Progress, CommandFailure>.failure(failure)
                case .success(let blob):
                    progress.blobsDone += 1
                    progress.bytesDone += blob.size
                    if blob.isSent {
                        progress.blobsSent += 1
                        progress.bytesSent += blob.size
                    }
                    tell(progress)
                }
                if let next = rest.popFirst() { group.addTask { await bring(next) } }
            }
            return .success(progress)
        }
        return try result.get()
    }

    private func bring(_ blob: Blob) async -> Result<(size: Int64, isSent: Bool), CommandFailure> {
        do throws(CommandFailure) {
            if try await client.has(blob.digest) { return .success((blob.size, false)) }
            try await client.put(blob.digest, blob.body)
            return .success((blob.size, true))
        } catch { return .failure(error) }
    }
}
