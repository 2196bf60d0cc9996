// SPDX-License-Identifier: Apache-2.0

/// Something that the directive asks for and that the node could not do.
public struct NodeFailure: Hashable, Codable, Sendable {
    public enum Goal: String, Codable, Sendable {
        case gate, stage, unstage, activate, service, prune
    }

    public var goal: Goal
    /// What failed, where, and what to do next.
    public var message: String

    public init(goal: Goal, message: String) {
        self.goal = goal
        self.message = message
    }
}
