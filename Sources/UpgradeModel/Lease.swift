// SPDX-License-Identifier: Apache-2.0

/// How long a node stays closed without hearing from the coordinator, and what it does then.
public struct Lease: Hashable, Codable, Sendable {
    public enum Expiry: String, Codable, Sendable {
        /// Nothing behind the gate has been closed or changed: open by itself.
        case open
        /// The fence may be up, or the migration have begun: stay closed, loudly.
        case keep
    }

    public var duration: Span
    public var onExpiry: Expiry

    public init(duration: Span = .seconds(30), onExpiry: Expiry = .open) {
        self.duration = duration
        self.onExpiry = onExpiry
    }
}
