// SPDX-License-Identifier: Apache-2.0

/// What a gate did with requests from its closing to its opening: kept in the journal, since a status is forgotten.
public struct GateFigures: Hashable, Codable, Sendable {
    /// Requests that had to wait, whatever became of them.
    public var writesHeld: Int
    public var readsHeld: Int
    /// Those of `readsHeld` that came with a session.
    public var sessionReadsHeld: Int
    /// Requests that were answered 503: at once, because too many waited, or after waiting too long.
    public var writesRefused: Int
    public var readsRefused: Int
    /// The longest that a write waited that was there when the gate opened.
    public var longestWait: Span
    /// Since the agent started: writes that reached the application although nobody asked the gate.
    public var unasked: Int

    public init(
        writesHeld: Int, readsHeld: Int, sessionReadsHeld: Int, writesRefused: Int,
        readsRefused: Int, longestWait: Span, unasked: Int
    ) {
        self.writesHeld = writesHeld
        self.readsHeld = readsHeld
        self.sessionReadsHeld = sessionReadsHeld
        self.writesRefused = writesRefused
        self.readsRefused = readsRefused
        self.longestWait = longestWait
        self.unasked = unasked
    }
}

extension GateObservation {
    /// What is to be kept of it; `nil`: an older agent, which does not say how many had to wait.
    public var figures: GateFigures? {
        guard let writesWaited, let readsWaited else { return nil }
        return GateFigures(
            writesHeld: writesWaited, readsHeld: readsWaited,
            sessionReadsHeld: sessionReadsWaited ?? 0, writesRefused: writesRefused,
            readsRefused: readsRefused, longestWait: longestWait, unasked: unasked ?? 0)
    }
}
