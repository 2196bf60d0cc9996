// SPDX-License-Identifier: Apache-2.0

/// How a task ended, or that it has not.
public struct TaskOutcome: Hashable, Codable, Sendable {
    public enum State: String, Codable, Sendable {
        case running
        case done
        case failed
        /// Refused before it began, for example a name that the node does not allow.
        case notStarted
        /// Begun, and the agent died before it saw the end; it is not begun again.
        case unknown
    }

    public var identity: TaskIdentity
    public var state: State
    /// The last words of its output, or why it failed. At most `outputLimit` bytes.
    public var output: String
    public var duration: Span?
    /// For a preview: the beginning of its output. At most `previewLimit` bytes.
    public var preview: String?

    public static let outputLimit = 4096
    public static let previewLimit = 32_768

    public init(
        identity: TaskIdentity, state: State, output: String = "", duration: Span? = nil,
        preview: String? = nil
    ) {
        self.preview = preview
        self.identity = identity
        self.state = state
        self.output = output
        self.duration = duration
    }
}

/// What a health check has said so far.
public struct HealthObservation: Hashable, Codable, Sendable {
    public enum State: String, Codable, Sendable { case checking, healthy }

    public var identity: TaskIdentity
    public var state: State
    /// The last answer, for people.
    public var detail: String

    public init(identity: TaskIdentity, state: State, detail: String) {
        self.identity = identity
        self.state = state
        self.detail = detail
    }
}
