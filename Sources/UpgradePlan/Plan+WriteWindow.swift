// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

extension Plan {
    /// What becomes of write requests during the write window.
    public struct Writes: Hashable, Sendable {
        public let admission: Admission
        /// What a refused client is told to wait: whole seconds, in `Retry-After`.
        public let retryAfter: Span
        /// How many held requests go through in a second on each node when the gates open, at most; `nil`: as many as its
        /// application takes.
        public let pace: Int?
        /// How long before the gates close it is said to the pages that people have open; the run waits for so long.
        public let announce: Span

        public init(
            admission: Admission = .hold(atMost: 1000, for: .seconds(15)),
            retryAfter: Span = .seconds(5), pace: Int? = nil, announce: Span = .zero
        ) {
            precondition(Limits.announce.contains(announce), "announce out of range")
            if let pace { precondition(Limits.pace.contains(pace), "pace out of range") }
            if case .hold(let count, let span) = admission {
                precondition(Limits.held.contains(count), "held writes out of range")
                precondition(Limits.hold.contains(span), "hold out of range")
            }
            precondition(Limits.retryAfter.contains(retryAfter), "retryAfter out of range")
            precondition(retryAfter.milliseconds % 1000 == 0, "Retry-After has whole seconds")
            self.admission = admission
            self.retryAfter = retryAfter
            self.pace = pace
            self.announce = announce
        }
    }

    /// How a closed gate answers a write request.
    public enum Admission: Hashable, Sendable {
        /// Let it wait, then pass it on in order. What exceeds either limit is refused.
        ///
        /// The count is for each node.
        case hold(atMost: Int, for: Span)
        /// Answer 503 with `Retry-After` and this text at once.
        case refuse(message: String)
    }

    /// What becomes of read requests from the migration to the flip of their node.
    public enum Reads: Hashable, Sendable {
        /// The old code survives the migration: it goes on reading.
        case serve
        /// The old code does not survive it: reads wait on each node until the release that fits the schema answers there.
        ///
        /// The count is for each node; what exceeds either limit is refused.
        case hold(for: Span, atMost: Int)
        /// The old code reads the schema from before the migration, on a standby that is frozen behind the fence.
        case standby
    }

    /// What becomes of the reads of those who have a session while the database is fenced.
    public struct Sessions: Hashable, Sendable {
        /// By what a request with a session is known.
        public let mark: SessionMark
        /// `nil`: they are served, and what they write fails.
        public let hold: Hold?

        /// The count is for each node; what exceeds either limit is refused.
        public struct Hold: Hashable, Sendable {
            public let span: Span
            public let atMost: Int

            public init(_ span: Span, atMost: Int) {
                precondition(Limits.held.contains(atMost), "held reads out of range")
                precondition(Limits.hold.contains(span), "hold out of range")
                self.span = span
                self.atMost = atMost
            }
        }

        public init(_ mark: SessionMark, hold: (span: Span, atMost: Int)?) {
            self.mark = mark
            self.hold = hold.map { Hold($0.span, atMost: $0.atMost) }
        }
    }

    /// What a request with a session carries.
    public enum SessionMark: Hashable, Sendable {
        case cookie(String)
        case header(String)

        /// As the proxy says it to the agent: `cookie:sessionid`.
        public var text: String {
            switch self {
            case .cookie(let name): "cookie:\(name)"
            case .header(let name): "header:\(name)"
            }
        }

        /// For people.
        public var phrase: String {
            switch self {
            case .cookie(let name): "cookie \(name)"
            case .header(let name): "header \(name)"
            }
        }
    }

    /// How the last writers before the migration are waited for.
    public struct Drain: Hashable, Sendable {
        /// How long writers may take to end by themselves.
        public let timeout: Span
        /// What happens to those that have not.
        public let stragglers: Stragglers
        /// What happens to old transactions that cannot write.
        public let readers: Treatment
        /// What happens, just before writes open, to sessions of the database that are older than the window.
        public let sessions: Treatment

        public init(
            timeout: Span = .seconds(10), stragglers: Stragglers = .terminate,
            readers: Treatment = .leave, sessions: Treatment = .leave
        ) {
            precondition(Limits.deadline.contains(timeout), "drain timeout out of range")
            self.timeout = timeout
            self.stragglers = stragglers
            self.readers = readers
            self.sessions = sessions
        }
    }

    /// What happens to what may stay in the database, and need not.
    public enum Treatment: String, Hashable, Sendable, CaseIterable {
        case leave, end
    }

    /// What happens to writers that have not ended when the drain's time is over.
    public enum Stragglers: String, Hashable, Sendable, CaseIterable {
        /// End their transactions; their clients see an error.
        case terminate
        /// Leave them alone: open the gates again and end the run as a failure.
        case turnBack = "turn-back"
    }
}
