// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import HTTPTypes
import RunStore
import UpgradeModel

/// Every request that is answered with something other than 404 or 405.
///
/// A path that is not listed here does not exist, and each says who may ask: there is no default.
enum Route: Hashable {
    case health
    case metrics
    case directive
    case status
    case nodes
    case runs
    case start
    case look
    case run(RunIdentifier)
    case request(RunIdentifier)
    case stream(RunIdentifier)
    case journal(RunIdentifier)
    case readBlob(Digest, isHead: Bool)
    case storeBlob(Digest)
    case missingBlobs
    case storePack
    case readPack

    enum Audience { case everybody, loopbackOrOperators, nodes, operators, nodesAndOperators }

    var audience: Audience {
        switch self {
        case .health: .everybody
        case .metrics: .loopbackOrOperators
        case .directive, .status: .nodes
        case .nodes, .runs, .start, .look, .run, .request, .stream, .journal, .storeBlob,
            .missingBlobs, .storePack:
            .operators
        case .readBlob, .readPack: .nodesAndOperators
        }
    }

    /// The word under which requests are counted.
    var label: String {
        switch self {
        case .health: "health"
        case .metrics: "metrics"
        case .directive: "directive"
        case .status: "status"
        case .nodes: "nodes"
        case .runs: "runs"
        case .start: "start"
        case .look: "database-findings"
        case .run: "run"
        case .request: "request"
        case .stream: "stream"
        case .journal: "journal"
        case .readBlob: "read-blob"
        case .storeBlob: "store-blob"
        case .missingBlobs: "missing-blobs"
        case .storePack: "store-pack"
        case .readPack: "read-pack"
        }
    }

    /// - Throws: `not-found` or `method-not-allowed`.
    init(_ method: HTTPRequest.Method, path: String) throws(APIError) {
        let candidates = Route.candidates(path)
        if candidates.isEmpty {
            throw APIError(
                .notFound, message: "there is no such path",
                advice: "see docs/coordinator.md for those there are")
        }
        guard let found = candidates.first(where: { $0.0 == method }) else {
            let allowed = candidates.map(\.0.rawValue).joined(separator: ", ")
            throw APIError(
                .methodNotAllowed, message: "\(method.rawValue) is not allowed here",
                advice: "use \(allowed)")
        }
        self = found.1
    }

    private static func candidates(_ path: String) -> [(HTTPRequest.Method, Route)] {
        switch path {
        case Path.health: return [(.get, .health)]
        case Path.metrics: return [(.get, .metrics)]
        case Path.directive: return [(.get, .directive)]
        case Path.status: return [(.post, .status)]
        case Path.nodes: return [(.get, .nodes)]
        case Path.databaseFindings: return [(.post, .look)]
        case Path.runs: return [(.get, .runs), (.post, .start)]
        case Path.missingBlobs: return [(.post, .missingBlobs)]
        case Path.storePack: return [(.post, .storePack)]
        case Path.readPack: return [(.post, .readPack)]
        default: break
        }
        // Compared with the paths that ControlAPI makes, so that both sides cannot differ.
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 4 else { return [] }
        if let digest = Digest(String(parts[3])), path == Path.blob(digest) {
            return [
                (.get, .readBlob(digest, isHead: false)), (.head, .readBlob(digest, isHead: true)),
                (.put, .storeBlob(digest)),
            ]
        }
        guard let run = RunIdentifier(rawValue: String(parts[3])) else { return [] }
        switch path {
        case Path.run(run): return [(.get, .run(run))]
        case Path.requests(run): return [(.post, .request(run))]
        case Path.stream(run): return [(.get, .stream(run))]
        case Path.journal(run): return [(.get, .journal(run))]
        default: return []
        }
    }
}
