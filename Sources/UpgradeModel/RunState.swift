// SPDX-License-Identifier: Apache-2.0

/// How a run stands, in one word.
public enum RunState: String, Codable, Sendable, CaseIterable {
    case running
    /// Going back.
    case rollingBack = "rolling-back"
    case paused
    /// A phase waits for `approve`.
    case awaitingApproval = "awaiting-approval"
    /// Stopped; a person decides.
    case waiting
    case done
    case rolledBack = "rolled-back"
    /// Ended in preflight: nothing was touched.
    case refused

    public var isEnded: Bool { self == .done || self == .rolledBack || self == .refused }
}
