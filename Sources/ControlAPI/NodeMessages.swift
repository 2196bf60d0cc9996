// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// The query of a long-poll: `?epoch=3&revision=17&wait=30000`. Answered 200 with a `Directive` as soon as there is a newer one,
/// 204 when the wait is over.
public struct DirectiveQuery: Hashable, Sendable {
    public var epoch: Epoch
    public var revision: Int64
    public var wait: Span

    public init(epoch: Epoch, revision: Int64, wait: Span) {
        self.epoch = epoch
        self.revision = revision
        self.wait = wait
    }

    public var text: String {
        "epoch=\(epoch.rawValue)&revision=\(revision)&wait=\(wait.milliseconds)"
    }
}

/// The answer to a status.
public struct StatusReceipt: Hashable, Codable, Sendable {
    public var epoch: Epoch
    /// The revision of the node's latest directive.
    public var revision: Int64

    public init(epoch: Epoch, revision: Int64) {
        self.epoch = epoch
        self.revision = revision
    }
}

/// The body of every answer that is not 2xx.
public struct APIError: Error, Hashable, Codable, Sendable, CustomStringConvertible {
    /// A stable word for programs: one of `Code`, or of a later version.
    public var code: String
    public var message: String
    public var advice: String?
    public var diagnostics: [Diagnostic]

    public init(
        code: String, message: String, advice: String? = nil, diagnostics: [Diagnostic] = []
    ) {
        self.code = code
        self.message = message
        self.advice = advice
        self.diagnostics = diagnostics
    }

    public init(
        _ code: Code, message: String, advice: String? = nil, diagnostics: [Diagnostic] = []
    ) {
        self.init(
            code: code.rawValue, message: message, advice: advice, diagnostics: diagnostics)
    }

    public var description: String { advice.map { "\(message); \($0)" } ?? message }

    /// Every reason that a coordinator gives; each has one HTTP status.
    public enum Code: String, Sendable, CaseIterable {
        case malformed
        case protocolVersion = "protocol"
        case unauthorized
        case forbidden
        case notFound = "not-found"
        case methodNotAllowed = "method-not-allowed"
        case timeout
        case tooLarge = "too-large"
        case tooMany = "too-many"
        case range
        case unavailable
        case full
        case invalidPlan = "invalid-plan"
        case noNodes = "no-nodes"
        case unknownNode = "unknown-node"
        case refused
        case requestUsed = "request-used"
        case fleetHeld = "fleet-held"
        case nodeHeld = "node-held"
        case quarantinedLeftOut = "quarantined-left-out"
        case allQuarantined = "all-quarantined"
        case runEnded = "run-ended"
        case alreadyTurningBack = "already-turning-back"
        case pastPointOfNoReturn = "past-point-of-no-return"
        case notPaused = "not-paused"
        case alreadyPaused = "already-paused"
        case notRunning = "not-running"
        case nothingToApprove = "nothing-to-approve"
        case nothingToRetry = "nothing-to-retry"
        case nothingToResolve = "nothing-to-resolve"
        case noSuchMigration = "no-such-migration"
        case goingForward = "going-forward"
        case promoted
        case tooManyQuarantined = "too-many-quarantined"
        case nodeIsHeard = "node-is-heard"
        case lastNode = "last-node"
    }
}
