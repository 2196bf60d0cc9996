// SPDX-License-Identifier: Apache-2.0

import Glibc
import Releases
import UpgradeModel

/// The blobs of a bundle on this machine.
struct BundleBlobs: BlobSource {
    private let files: [Digest: String]
    private let contents: [Digest: [UInt8]]

    init(bundle: Bundle) {
        contents = bundle.contents
        files = Dictionary(
            bundle.manifest.entries.map { ($0.digest, bundle.file(of: $0)) },
            uniquingKeysWith: { first, _ in first })
    }

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        if let bytes = contents[digest] {
            // SAFETY: the sink uses the bytes during the call only.
            _ = bytes.dropFirst(Int(offset)).withUnsafeBytes { sink.write($0) }
            return
        }
        guard let path = files[digest] else {
            throw SystemFailure("the bundle has no file with the digest \(digest)")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw SystemFailure(errno: "open \(path)") }
        defer { close(descriptor) }
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw SystemFailure(errno: "read \(path)")
        }
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemFailure(errno: "read \(path)") }
            if count == 0 { return }
            // SAFETY: `count` bytes have been read into the chunk, and the sink uses them during the call only.
            guard
                chunk.withUnsafeBytes({ sink.write(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                )
            else { return }
        }
    }
}
