// SPDX-License-Identifier: Apache-2.0

/// What has become of a release that may write no more (`Directive.silenced`).
public struct Silence: Hashable, Sendable {
    public enum State: Hashable, Sendable {
        /// Nothing is asked, and nothing is frozen.
        case idle
        /// Asked, and not so yet.
        case waiting
        /// No process of the release runs: all that there are have been frozen, or there is none.
        case silent
        /// It cannot be done; what failed, where, and what to do next.
        case failed(String)
    }

    /// The release that is asked to be silent, or, while it is given back, that was. `nil` when nothing is frozen or asked.
    public var release: ReleaseReference?
    /// Processes of it that are frozen now; 0 when there were none, or when they have been ended.
    public var frozen: Int
    /// Requests that were still under way at its socket when it was frozen, after the time that reads are given to end.
    public var cut: Int
    public var state: State
    /// What of it ran after the lift; `nil` when nothing did, and from an older agent.
    public var late: LateProcesses?
    /// The TCP connections that the frozen processes have opened, as lsof(8) writes them, `10.0.0.7:41218->10.0.0.5:5432`; and the processes
    /// of a PostgreSQL server that their unix sockets lead to, as it counts them, with when each began: `postgres:4711@1764460000.12`. By
    /// them a database knows its sessions. At most ``Bounds/entries``; `nil` for none, and from an older agent.
    public var connections: [String]?

    public init(
        release: ReleaseReference? = nil, frozen: Int = 0, cut: Int = 0, state: State = .idle,
        late: LateProcesses? = nil, connections: [String]? = nil
    ) {
        self.connections = connections
        self.release = release
        self.frozen = frozen
        self.cut = cut
        self.state = state
        self.late = late
    }
}

extension Silence {
    /// Why it cannot be done; `nil` when nothing failed.
    public var failure: String? {
        if case .failed(let message) = state { message } else { nil }
    }
}

extension Silence: Codable {
    private enum Keys: String, CodingKey {
        case release, frozen, cut, state, message, late, connections
    }
    private enum Word: String, Codable { case idle, waiting, silent, failed }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        release = try container.decodeIfPresent(ReleaseReference.self, forKey: .release)
        frozen = try container.decode(Int.self, forKey: .frozen)
        cut = try container.decode(Int.self, forKey: .cut)
        late = try container.decodeIfPresent(LateProcesses.self, forKey: .late)
        connections = try container.decodeIfPresent([String].self, forKey: .connections)
        switch try container.decode(Word.self, forKey: .state) {
        case .idle: state = .idle
        case .waiting: state = .waiting
        case .silent: state = .silent
        case .failed: state = .failed(try container.decode(String.self, forKey: .message))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encodeIfPresent(release, forKey: .release)
        try container.encode(frozen, forKey: .frozen)
        try container.encode(cut, forKey: .cut)
        try container.encodeIfPresent(late, forKey: .late)
        try container.encodeIfPresent(connections, forKey: .connections)
        switch state {
        case .idle: try container.encode(Word.idle, forKey: .state)
        case .waiting: try container.encode(Word.waiting, forKey: .state)
        case .silent: try container.encode(Word.silent, forKey: .state)
        case .failed(let message):
            try container.encode(Word.failed, forKey: .state)
            try container.encode(message, forKey: .message)
        }
    }
}
