// SPDX-License-Identifier: Apache-2.0

/// When a migration is applied. The word stands in a comment at the head of the up file: `-- sluice: expand`.
public enum MigrationPhase: String, Hashable, Codable, Sendable, CaseIterable {
    /// Online, before the write window: what the old code does not notice.
    case expand
    /// In the write window, all of them in one transaction. The default.
    case `switch`
    /// Online, after the lift: what only the old code still needed.
    case contract
}
