// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import CurlClient
import Releases
import Synchronization
import UpgradeModel

/// The coordinator's blobs, each from where an earlier attempt ended.
struct CoordinatorBlobs: BlobSource {
    var coordinator: CoordinatorClient

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
