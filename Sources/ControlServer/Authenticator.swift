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
/// A bearer token today; a certificate's name later. An identity is remembered until the registry has changed, which is looked at
/// twice a second: asked for each token, the store would be kept from its commits in a large fleet's write window. A revoked token
/// is refused a second later at most.
final class Authenticator: Sendable {
    private struct State {
        var known: [Digest: Identity?] = [:]
        /// The registry's changes that `known` is of, and when that was looked at.
        var changes: Int64?
        var checkedAt = ContinuousClock.now
        var isChecking = false
        /// Counts what was forgotten, so that an answer from before is not kept.
        var generation = 0
    }

    private static let memoryLimit = 20_000

    private let registry: any Registry
    private let interval: Duration
    private let state = Mutex(State())

    /// - Parameter interval: how often the registry is looked at.
    init(registry: any Registry, interval: Duration = .milliseconds(500)) {
        self.registry = registry
        self.interval = interval
    }

    func identity(of headers: HTTPFields) async throws(APIError) -> Identity {
        guard let header = headers[.authorization] else {
            throw .unauthorized("no token was sent")
        }
        guard header.hasPrefix("Bearer "), let token = Token(text: String(header.dropFirst(7)))
        else {
            throw .unauthorized("what was sent is not a token")
        }
        return try await identity(of: token)
    }

    func identity(of token: Token) async throws(APIError) -> Identity {
        guard let identity = try await identity(ofHash: token.hash) else {
            throw .unauthorized("the token is not known, or was revoked")
        }
        return identity
    }

    private func identity(ofHash hash: Digest) async throws(APIError) -> Identity? {
        do throws(StoreFailure) {
            try await forgetWhenChanged()
            let (found, generation) = state.withLock { ($0.known[hash], $0.generation) }
            if let found { return found }
            let identity = try await registry.identity(ofTokenHash: hash)
            state.withLock { state in
                guard state.generation == generation else { return }
                if state.known.count >= Self.memoryLimit { state.known = [:] }
                state.known[hash] = .some(identity)
            }
            return identity
        } catch {
            throw APIError(error)
        }
    }

    /// One request looks for all; the others go on with what is known while that is not older than a second.
    private func forgetWhenChanged() async throws(StoreFailure) {
        let now = ContinuousClock.now
        let isLooking = state.withLock { state in
            let age = now - state.checkedAt
            let isDue =
                state.changes == nil || age > interval * 2
                || (age > interval && !state.isChecking)
            if isDue { state.isChecking = true }
            return isDue
        }
        guard isLooking else { return }
        defer { state.withLock { $0.isChecking = false } }
        let changes = try await registry.changes()
        state.withLock { state in
            if state.changes != changes {
                state.known = [:]
                state.generation += 1
            }
            state.changes = changes
            state.checkedAt = max(state.checkedAt, now)
        }
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
