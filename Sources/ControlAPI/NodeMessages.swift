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
    /// A stable word for programs: `fleet-held`, `invalid-plan`, `not-found`, `refused`, `unauthorized`, `too-large`, `unavailable`.
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

    public var description: String { advice.map { "\(message); \($0)" } ?? message }
}
