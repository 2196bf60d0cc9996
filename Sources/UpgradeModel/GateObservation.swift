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

    public init(
        writes: WriteAdmission.Kind = .open, readsHeld: Bool = false, readsSettled: Bool = false,
        writesInFlight: Int? = 0,
        writesWaiting: Int = 0, readsWaiting: Int = 0, writesRefused: Int = 0,
        readsRefused: Int = 0,
        writesReleased: Int = 0, longestWait: Span = .zero, closedAt: Instant? = nil,
        openedAt: Instant? = nil
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
    }
}
