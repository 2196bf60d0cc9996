// SPDX-License-Identifier: Apache-2.0

/// What came of a write of the agent's own through its proxy: whether the gate is asked, in the state that it is in now.
public struct GateProof: Hashable, Codable, Sendable {
    public enum State: String, Codable, Sendable {
        /// Not answered yet, or not in a way that says anything.
        case waiting
        /// The gate was asked, and its refusal came back as one.
        case proved
        /// Writes pass the gate by, or its refusal reaches nobody as one.
        case failed
        /// The agent knows nowhere to send it.
        case untried
    }

    public var state: State
    /// What is so and what to look at, for people; empty where all is as it should be. Of a proxy that was proved: where it was not.
    public var detail: String
    /// What the proxy's configuration says of how much it holds; `nil`: nobody could read it.
    public var limits: ProxyLimits?
    /// The same of HAProxy's or Caddy's; `nil`: nobody could read them, or an older agent does not.
    public var bounds: [ProxyBound]?
    /// How many held requests the agent and the application have room for; `nil`: an older agent does not say.
    public var room: HoldingRoom?

    public init(
        _ state: State, _ detail: String = "", limits: ProxyLimits? = nil,
        bounds: [ProxyBound]? = nil,
        room: HoldingRoom? = nil
    ) {
        self.state = state
        self.detail = detail
        self.limits = limits
        self.bounds = bounds
        self.room = room
    }
}

extension GateObservation {
    /// Whether nothing speaks against what the gate says of itself. An older agent says nothing, and one that knows no URL cannot try.
    public var isProved: Bool {
        switch proof?.state {
        case nil, .proved, .untried: true
        case .waiting, .failed: false
        }
    }

    /// What nobody knows of the way to the gate; `nil` where all of it was tried, or an older agent says nothing.
    public var unknownWay: String? {
        guard let proof, [.proved, .untried].contains(proof.state), !proof.detail.isEmpty else {
            return nil
        }
        return proof.detail
    }

    /// Why the gate's word is not believed; `nil` while nothing is wrong, or nothing is known yet.
    public var disproof: String? { proof?.state == .failed ? proof?.detail : nil }
}
