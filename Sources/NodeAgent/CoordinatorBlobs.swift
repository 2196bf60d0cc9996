// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import CurlClient
import Releases
import Synchronization
import UpgradeModel

/// The coordinator's blobs, each from where an earlier attempt ended.
struct CoordinatorBlobs: BlobSource {
    var coordinator: CoordinatorClient

    /// Many small blobs in one request; a coordinator of an earlier version does not know that.
    func fetchPack(
        _ digests: [Digest], into receive: @escaping @Sendable (Digest, [UInt8]) -> Bool
    ) async throws -> Bool {
        var request = coordinator.request(.post, Path.readPack, body: .none)
        request.headers.append(HTTPHeader("Content-Type", "text/plain"))
        request.body = .bytes(BlobPack.list(digests))
        request.timeouts = HTTPTimeouts(connect: .seconds(5), total: nil, stall: .seconds(30))
        request.maximumBody = BlobPack.bytes
        let refused = Mutex<Int?>(nil)
        let reader = Mutex(BlobPack.Reader())
        do throws(HTTPFailure) {
            try await coordinator.downloads.stream(request) { head in
                guard head.status == 200 else {
                    refused.withLock { $0 = head.status }
                    return false
                }
                return true
            } onBytes: { bytes in
                let blobs = reader.withLock { try? $0.read(bytes) }
                return blobs?.allSatisfy { receive($0.digest, $0.bytes) } ?? false
            }
        } catch {
            // Each by itself then: that one is missing, or that the path is, is said best by the blob's own answer.
            if let status = refused.withLock({ $0 }), [404, 405, 400, 413].contains(status) {
                return false
            }
            if let status = refused.withLock({ $0 }) { throw CoordinatorClient.refusal(status, []) }
            throw error
        }
        return true
    }

    func fetch(_ digest: Digest, from offset: Int64, into sink: BlobSink) async throws {
        var request = coordinator.request(.get, Path.blob(digest), body: .none)
        if offset > 0 { request.range = HTTPRange(from: offset) }
        request.timeouts = HTTPTimeouts(connect: .seconds(5), total: nil, stall: .seconds(30))
        request.maximumBody = Int(min(sink.expectedSize, Limits.blob))
        let refused = Mutex<Int?>(nil)
        do throws(HTTPFailure) {
            try await coordinator.downloads.stream(request) { head in
                switch (head.status, offset) {
                case (206, _), (200, 0): return true
                // A server, or a proxy before it, that knows no ranges.
                case (200, _): return sink.restart()
                default:
                    refused.withLock { $0 = head.status }
                    return false
                }
            } onBytes: { bytes in
                sink.write(bytes)
            }
        } catch {
            if let status = refused.withLock({ $0 }) { throw CoordinatorClient.refusal(status, []) }
            throw error
        }
    }
}
