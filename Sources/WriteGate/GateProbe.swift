// SPDX-License-Identifier: Apache-2.0

/// A write with a nonce that the agent sends through its own proxy, to see whether the gate is asked.
///
/// An agent that says "closed" while a rewrite sends every write past the gate is worse than none. The gate knows the nonce
/// and answers at once, open or closed, so the request never waits and never reaches the application, unless it passes the
/// gate by, which is what the probe finds out.
public struct GateProbe: Hashable, Sendable {
    /// Sent as `X-Sluice-Probe`. Nobody else knows it.
    public let nonce: String
    /// What only the gate knows: it comes back as `X-Sluice-Proof`. A server that echoes what it gets does not have it.
    let proof: String

    init() {
        nonce = randomText()
        proof = randomText()
    }

    public static let method = "POST"

    /// The headers of the request, besides `Host`. It has no body.
    public var headers: [(name: String, value: String)] {
        [("X-Sluice-Probe", nonce), ("Content-Length", "0"), ("Accept", "text/plain")]
    }

    /// What an answer to the probe says.
    public enum Answer: Hashable, Sendable {
        /// The gate was asked, and a write would be held or refused.
        case closed
        /// The gate was asked, and a write would be let through.
        case open
        /// The gate was asked, and its refusal reaches no client as one.
        case disguised(status: Int)
        /// The gate was not asked: a write that is sent like this passes it by.
        case notAsked(status: Int)
        /// The proxy has answered it by itself before it could ask the gate: nothing is known of what gets further.
        case stopped(status: Int)

        /// What is so and what to do, for people; empty for an answer that is as it should be.
        public var problem: String {
            switch self {
            case .closed, .open: ""
            case .disguised(let status):
                "the proxy asks the gate, but its clients get \(status) instead of the gate's refusal: another "
                    + "error_page for 401 stands above the snippet, or in the location. Put the snippet first in the "
                    + "server, and its error_page line into the location"
            case .stopped(let status):
                "the proxy answered \(status) by itself before it asked the gate, so that nothing is known of writes that get "
                    + "further. Name a URL under gate.probe in agent.yaml that a client of the application may POST to"
            case .notAsked(let status):
                "a write through the proxy was answered \(status) without the gate being asked. In nginx, put the "
                    + "snippet first in the server, above every rewrite, if and return; look for auth_request off and "
                    + "satisfy any"
            }
        }
    }

    /// - Parameters:
    ///   - wasAsked: what the gate says: ``WriteGate/wasAsked(about:)``.
    ///   - passage: what the proxy has reported of it: ``WriteGate/passage(of:)``.
    ///   - headers: of the answer, names in lower case.
    public func verdict(
        wasAsked: Bool, passage: ProxyPassage? = nil, status: Int, headers: [String: String]
    ) -> Answer {
        guard wasAsked else {
            return passage == ProxyPassage.none
                ? .stopped(status: status) : .notAsked(status: status)
        }
        let reason = headers["x-sluice-refused"].flatMap(Refusal.Reason.init(rawValue:))
        guard status == 503, headers["x-sluice-proof"] == proof, headers["retry-after"] != nil
        else {
            return .disguised(status: status)
        }
        switch reason {
        case .probeClosed: return .closed
        case .probeOpen: return .open
        default: return .disguised(status: status)
        }
    }
}

/// 32 hexadecimal digits.
private func randomText() -> String {
    var random = SystemRandomNumberGenerator()
    return (0..<2).map { _ in
        let digits = String(random.next(), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
}
