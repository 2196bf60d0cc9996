// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What the gate sees: its setting in force, what waits, what is under way, and totals since it started.
public struct GateSnapshot: Hashable, Sendable {
    /// The setting that decides about requests now.
    public var setting: GateSetting
    /// Writes admitted by this process whose completion has not been seen; `nil` when there may be some that are not counted:
    /// their proxy does not report the end, or has not for ``GateConfiguration/inFlightAtMost``. Writes that a proxy
    /// admitted while no agent ran are not in it: the count informs, the census decides.
    public var writesInFlight: Int?
    /// WebSockets and other requests that live as long as their client likes; none of them is in ``writesInFlight``.
    public var streamsOpen: Int
    public var writesHeld: Int
    public var readsHeld: Int
    public var totals: GateTotals
    /// How long the request that has waited longest has waited.
    public var oldestHeld: Span?
    /// How long ago the oldest write in flight was admitted.
    public var oldestInFlight: Span?

    /// The gate is closed to writes and no admitted write is under way.
    public var isDrained: Bool { !setting.writes.isOpen && writesInFlight == 0 }
}

/// Counts since the gate started. They only rise.
public struct GateTotals: Hashable, Sendable {
    /// Writes admitted, at once or after a hold.
    public var admitted = 0
    /// Reads that asked and were let through.
    public var readsAdmitted = 0
    /// Writes answered 503.
    public var writesRefused = Refusals()
    /// Reads answered 503, while they were held as well.
    public var readsRefused = Refusals()
    /// Requests that had to wait, whatever became of them.
    public var writesWaited = 0
    public var readsWaited = 0
    /// Those of ``readsWaited`` that came with a session.
    public var sessionReadsWaited = 0
    /// Held requests whose client went away.
    public var abandoned = 0
    /// Writes whose completion the proxy reported. Stays 0 while `admitted` rises when the proxy's `access_log` line is
    /// missing: then the count of writes in flight means nothing.
    public var completed = 0
    /// Writes whose end is not known: no identifier, more than are tracked, or no completion in time.
    public var unknown = 0
    /// Writes that reached the application although nobody asked the gate: a location without it, or a rewrite that takes
    /// the question elsewhere.
    public var unasked = 0
    /// Completions that came from another process than the one that had asked, and were not believed.
    public var foreignCompletions = 0

    public init() {}

    /// Requests that were refused, by why.
    public struct Refusals: Hashable, Sendable {
        /// The gate was set to refuse.
        public var closed = 0
        /// As many as allowed were waiting.
        public var overflowed = 0
        /// They had waited as long as allowed.
        public var expired = 0

        public var total: Int { closed + overflowed + expired }

        public init() {}
    }
}
