// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import ControlAPI
import Coordinator
import HTTPTypes
import RunStore
import Synchronization
import UpgradeModel

/// Who asks: the one place where a request becomes an identity.
///
/// A bearer token today; a certificate's name later. An identity found is remembered for a second, so a revoked token is refused a
/// second later at most.
final class Authenticator: Sendable {
    private struct Known {
        var identity: Identity?
        var until: ContinuousClock.Instant
    }

    private static let memory = Duration.seconds(1)
    private static let memoryLimit = 20_000

    private let registry: any Registry
    private let known = Mutex<[Digest: Known]>([:])

    init(registry: any Registry) {
        self.registry = registry
    }

    func identity(of headers: HTTPFields) async throws(APIError) -> Identity {
        guard let header = headers[.authorization] else {
            throw .unauthorized("no token was sent")
        }
        guard header.hasPrefix("Bearer "), let token = Token(text: String(header.dropFirst(7)))
        else {
            throw .unauthorized("what was sent is not a token")
        }
        guard let identity = try await identity(ofHash: token.hash) else {
            throw .unauthorized("the token is not known, or was revoked")
        }
        return identity
    }

    private func identity(ofHash hash: Digest) async throws(APIError) -> Identity? {
        let now = ContinuousClock.now
        if let found = known.withLock({ $0[hash] }), found.until > now { return found.identity }
        let identity: Identity?
        do throws(StoreFailure) {
            identity = try await registry.identity(ofTokenHash: hash)
        } catch {
            throw APIError(error)
        }
        known.withLock { known in
            if known.count >= Self.memoryLimit { known = [:] }
            known[hash] = Known(identity: identity, until: now + Self.memory)
        }
        return identity
    }
}

extension Route.Audience {
    /// Refuses whoever may not ask.
    func admit(_ identity: Identity) throws(APIError) {
        switch (self, identity) {
        case (.everybody, _), (.nodesAndOperators, _), (.nodes, .node), (.operators, .operator),
            (.loopbackOrOperators, .operator):
            return
        case (.nodes, .operator):
            throw .forbidden("this path is for nodes, and the token is an operator's")
        case (.operators, .node), (.loopbackOrOperators, .node):
            throw .forbidden("this path is for operators, and the token is a node's")
        }
    }
}

extension APIError {
    static func unauthorized(_ message: String) -> APIError {
        APIError(
            code: "unauthorized", message: message,
            advice: "make one on the coordinator's machine with `sluice token create`")
    }

    static func forbidden(_ message: String) -> APIError {
        APIError(code: "forbidden", message: message, advice: "use a token of the right kind")
    }
}
