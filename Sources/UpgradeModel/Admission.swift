// SPDX-License-Identifier: Apache-2.0

/// How many requests are held, for how long, and what those beyond that are told.
public struct HoldLimits: Hashable, Codable, Sendable {
    /// The most requests held at once; one more is answered 503.
    public var atMost: Int
    /// The longest that one request is held; then it is answered 503.
    public var duration: Span
    /// The `Retry-After` of a 503, rounded up to whole seconds.
    public var retryAfter: Span

    public init(atMost: Int, duration: Span, retryAfter: Span) {
        self.atMost = atMost
        self.duration = duration
        self.retryAfter = retryAfter
    }
}

/// What the gate does with a write request.
public enum WriteAdmission: Hashable, Sendable {
    case open
    /// Held until the gate opens or a limit is reached.
    case hold(HoldLimits)
    /// Answered 503 with `Retry-After` and this message.
    case refuse(retryAfter: Span, message: String)

    public enum Kind: String, Codable, Sendable { case open, hold, refuse }

    public var kind: Kind {
        switch self {
        case .open: .open
        case .hold: .hold
        case .refuse: .refuse
        }
    }

    public var isOpen: Bool { kind == .open }
}

extension WriteAdmission: Codable {
    private enum Keys: String, CodingKey { case kind, hold, retryAfter, message }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        switch try container.decode(Kind.self, forKey: .kind) {
        case .open: self = .open
        case .hold: self = .hold(try container.decode(HoldLimits.self, forKey: .hold))
        case .refuse:
            self = .refuse(
                retryAfter: try container.decode(Span.self, forKey: .retryAfter),
                message: try container.decode(String.self, forKey: .message))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(kind, forKey: .kind)
        switch self {
        case .open: break
        case .hold(let limits): try container.encode(limits, forKey: .hold)
        case .refuse(let retryAfter, let message):
            try container.encode(retryAfter, forKey: .retryAfter)
            try container.encode(message, forKey: .message)
        }
    }
}

/// What the gate does with a read request.
public struct ReadAdmission: Hashable, Codable, Sendable {
    /// `nil`: reads pass without being asked for.
    public var hold: HoldLimits?
    /// Hold only until this activation is the node's; the node lets reads go at the flip without being told.
    public var until: ActivationIdentity?

    public init(hold: HoldLimits? = nil, until: ActivationIdentity? = nil) {
        self.hold = hold
        self.until = until
    }

    public static let pass = ReadAdmission()
}
