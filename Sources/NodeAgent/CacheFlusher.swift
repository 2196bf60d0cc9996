// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import CurlClient
import UpgradeModel

/// Flushes a cache that the configuration declares, except one that is flushed by an action.
struct CacheFlusher: Sendable {
    var client: CurlClient

    /// - Returns: what was done. Flushing again does no harm.
    func flush(_ cache: Cache) async throws(SystemFailure) -> String {
        switch cache {
        case .generation: return "its keys contain the generation: the flip was the flush"
        case .directory(let path):
            let count = try emptyDirectory(path)
            return "\(count) entries of \(path) removed"
        case .purge(let purge):
            for path in purge.paths { try await send(purge, path) }
            return "\(purge.method) sent for \(purge.paths.count) paths"
        case .action: throw SystemFailure("a cache with an action is flushed by that action")
        }
    }

    private func send(_ purge: Cache.Purge, _ path: String) async throws(SystemFailure) {
        var headers: [HTTPHeader] = []
        for header in purge.headers { headers.append(try HTTPHeader(header)) }
        if purge.host != "localhost" { headers.append(HTTPHeader("Host", purge.host)) }
        let request = HTTPRequest(
            purge.method, "http://\(purge.address)\(path)", headers: headers,
            timeouts: HTTPTimeouts(connect: .seconds(2), total: .seconds(10)))
        let response: HTTPResponse
        do throws(HTTPFailure) {
            response = try await client.perform(request)
        } catch {
            throw SystemFailure(error.message)
        }
        // 404: there was nothing in the cache under that path.
        guard (200...299).contains(response.status) || response.status == 404 else {
            throw SystemFailure(
                "\(purge.method) \(purge.address)\(path) was answered \(response.status); does the cache allow it "
                    + "from this address?")
        }
    }
}
