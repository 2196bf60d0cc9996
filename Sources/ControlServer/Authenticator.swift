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
/// A bearer token today; a certificate's name later. The hashes of all tokens are in memory, so that nobody, and no stranger with
/// tokens that he makes up, keeps the store from its commits. Twice a second it is looked at whether the registry has changed: a
/// revoked token is refused a second later at most.
final class Authenticator: Sendable {
    private struct State {
        var known: [Digest: Identity] = [:]
        /// The registry's changes that `known` is of, and when that was looked at.
        var changes: Int64?
        var checkedAt = ContinuousClock.now
        var isChecking = false
    }

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
        do throws(StoreFailure) {
            try await readWhenChanged()
        } catch {
            throw APIError(error)
        }
        guard let identity = state.withLock({ $0.known[token.hash] }) else {
            throw .unauthorized("the token is not known, or was revoked")
        }
        return identity
    }

    /// One request looks for all; the others go on with what is known while that is not older than a second.
    private func readWhenChanged() async throws(StoreFailure) {
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
        if state.withLock({ $0.changes == changes }) {
            return state.withLock { $0.checkedAt = max($0.checkedAt, now) }
        }
        // Read after the number: what changes in between is read once more, never missed.
        let identities = try await registry.identities()
        state.withLock { state in
            guard now >= state.checkedAt || state.changes == nil else { return }
            state.known = identities
            state.changes = changes
            state.checkedAt = max(state.checkedAt, now)
        }
    }
}

extension Route.Audience {
    func contains(_ identity: Identity) -> Bool { (try? admit(identity)) != nil }

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
            .unauthorized, message: message,
            advice: "make one on the coordinator's machine with `sluice token create`")
    }

    static func forbidden(_ message: String) -> APIError {
        APIError(.forbidden, message: message, advice: "use a token of the right kind")
    }
}
