// SPDX-License-Identifier: Apache-2.0

/// What an operator asks of a run.
public enum RequestVerb: String, Codable, Sendable, CaseIterable {
    /// Begin no new step until `resume`.
    case pause
    case resume
    /// Let the phase begin that waits for approval.
    case approve
    /// Begin no new forward step; then do what the plan's `on_failure` says.
    case abort
    /// Try the failed step again.
    case retry
    /// Turn back now, whatever `on_failure` says.
    case rollback
    /// Say what was done by hand, or that a node is off.
    case resolve
}
