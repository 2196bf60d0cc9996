// SPDX-License-Identifier: Apache-2.0

/// What the gate does and has to do.
public struct GateObservation: Hashable, Codable, Sendable {
    public var writes: WriteAdmission.Kind
    public var readsHeld: Bool
    /// While reads are held: whether those admitted before have left the application, or the wait for them is over.
    public var readsSettled: Bool
    /// Write requests admitted and not known to be completed; `nil`: not known, since some are not counted.
    public var writesInFlight: Int?
    /// Write requests waiting at the gate now.
    public var writesWaiting: Int
    /// Read requests waiting at the gate now.
    public var readsWaiting: Int
    /// Since the gate last closed: writes answered 503.
    public var writesRefused: Int
    /// Since the gate last closed: reads answered 503 because they waited too long.
    public var readsRefused: Int
    /// Since the gate last closed: writes that waited and went through.
    public var writesReleased: Int
    /// The longest that a released write has waited since the gate last closed.
    public var longestWait: Span
    /// When the gate last closed and last opened, on the node's steady clock.
    public var closedAt: Instant?
    public var openedAt: Instant?
    /// What a write of the agent's own through the proxy says; `nil`: outside a run, and of an older agent.
    public var proof: GateProof?
    /// Since the agent started: writes that reached the application although nobody asked the gate. `nil`: an older agent.
    public var unasked: Int?
    /// Whether the reads of those who have a session are held. `nil`: an older agent, which cannot.
    public var sessionsHeld: Bool?
    /// While they are: whether the requests that were under way when that began have left the application, or the wait for them is
    /// over.
    public var sessionsSettled: Bool?
    /// By what the proxy knows a session: `cookie:NAME`, `header:NAME`, with a space between two. `nil`: it has not said.
    public var sessionMarks: String?
    /// Since the gate last closed: writes, reads, and among these the reads of sessions that had to wait. `nil`: an older agent.
    public var writesWaited: Int?
    public var readsWaited: Int?
    public var sessionReadsWaited: Int?

    public init(
        writes: WriteAdmission.Kind = .open, readsHeld: Bool = false, readsSettled: Bool = false,
        writesInFlight: Int? = 0,
        writesWaiting: Int = 0, readsWaiting: Int = 0, writesRefused: Int = 0,
        readsRefused: Int = 0,
        writesReleased: Int = 0, longestWait: Span = .zero, closedAt: Instant? = nil,
        openedAt: Instant? = nil, proof: GateProof? = nil, unasked: Int? = nil,
        sessionsHeld: Bool? = nil, sessionsSettled: Bool? = nil, sessionMarks: String? = nil,
        writesWaited: Int? = nil, readsWaited: Int? = nil, sessionReadsWaited: Int? = nil
    ) {
        self.writes = writes
        self.readsHeld = readsHeld
        self.readsSettled = readsSettled
        self.writesInFlight = writesInFlight
        self.writesWaiting = writesWaiting
        self.readsWaiting = readsWaiting
        self.writesRefused = writesRefused
        self.readsRefused = readsRefused
        self.writesReleased = writesReleased
        self.longestWait = longestWait
        self.closedAt = closedAt
        self.openedAt = openedAt
        self.proof = proof
        self.unasked = unasked
        self.sessionsHeld = sessionsHeld
        self.sessionsSettled = sessionsSettled
        self.sessionMarks = sessionMarks
        self.writesWaited = writesWaited
        self.readsWaited = readsWaited
        self.sessionReadsWaited = sessionReadsWaited
    }
}
