// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What the gate does with requests.
///
/// Writes and reads are set together, so that no request sees one half of a change.
public struct GateSetting: Hashable, Sendable {
    public var writes: GateWrites
    public var reads: GateReads

    public init(writes: GateWrites, reads: GateReads = .pass) {
        self.writes = writes
        self.reads = reads
    }

    /// Everything passes: the state outside an upgrade.
    public static let open = GateSetting(writes: .open, reads: .pass)
}

/// What the gate does with requests that may write.
public enum GateWrites: Hashable, Sendable {
    /// Writes are admitted and counted until they have completed.
    case open
    /// Writes wait and go through in the order of their arrival once the gate opens. Past a limit they are refused.
    case hold(GateHold)
    /// Writes are refused at once, with 503 and `Retry-After` at the proxy.
    case refuse(GateRefusal)

    public var isOpen: Bool { self == .open }
}

/// What the gate does with requests that only read.
public enum GateReads: Hashable, Sendable {
    /// Reads never leave the proxy.
    case pass
    /// The proxy asks for reads as well, and they wait: for a migration that the old code does not survive.
    case hold(GateHold)
}

/// How many requests may wait, and for how long each.
public struct GateHold: Hashable, Sendable {
    /// One more than this is refused at once. With 0 nothing is held and everything is refused.
    public var atMost: Int
    /// How long one request waits, counted from its arrival. ``GateConfiguration/longestHold`` caps it.
    public var duration: Span
    /// What a request that is refused at a limit is told to wait. Sent in whole seconds, rounded up, at least 1.
    public var retryAfter: Span

    public init(atMost: Int, duration: Span, retryAfter: Span) {
        self.atMost = atMost
        self.duration = duration
        self.retryAfter = retryAfter
    }
}

/// What a refused request is told.
public struct GateRefusal: Hashable, Sendable {
    /// Sent in whole seconds, rounded up, at least 1.
    public var retryAfter: Span
    /// One line for people, shown in the body of the 503. Control characters are dropped; 512 bytes at most are sent.
    public var message: String

    public init(retryAfter: Span, message: String = "") {
        self.retryAfter = retryAfter
        self.message = message
    }
}

/// Whether a load balancer may send requests to this node.
public enum GateService: String, Hashable, Sendable {
    case `in`
    /// The flag file `out-of-service` exists; the proxy's health page answers 503.
    case out
}
