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

    /// The exit code of a command that watched the run to this state; `nil` while there is more to watch.
    public var exitCode: Int32? {
        switch self {
        case .done: 0
        case .refused: 3
        case .rolledBack: 4
        case .waiting, .awaitingApproval: 5
        case .running, .rollingBack, .paused: nil
        }
    }
}
