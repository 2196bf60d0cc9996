// SPDX-License-Identifier: Apache-2.0

/// What the configuration of a node's proxy does to requests that are held (nginx has `ProxyLimits` for that), or to a flip.
public struct ProxyBound: Hashable, Codable, Sendable {
    /// As its configuration calls it: `maxconn of the frontend site`.
    public var name: String
    /// File and line.
    public var position: String
    /// So many requests at once, held ones among them.
    public var requests: Int?
    /// Open pages that may listen through it; each counts there as a request does.
    public var listeners: Int?
    /// So many requests at once go on to the application.
    public var passing: Int?
    /// A request that is held for longer is not answered.
    public var span: Span?
    /// It keeps connections to the application's socket.
    public var kept: Kept?

    /// Which proxy keeps them, and so what is to be written.
    public enum Kept: String, Codable, Sendable {
        case nginx, haproxy, caddy
    }

    private enum CodingKeys: String, CodingKey {
        case name, requests, listeners, passing, span, kept
        case position = "place"
    }

    public init(
        name: String, position: String, requests: Int? = nil, listeners: Int? = nil,
        passing: Int? = nil, span: Span? = nil, kept: Kept? = nil
    ) {
        self.name = name
        self.position = position
        self.requests = requests
        self.listeners = listeners
        self.passing = passing
        self.span = span
        self.kept = kept
    }

    /// What of it stands in the way of so many requests that are held for so long, or of the flip, each with what would not.
    public func warnings(holding held: Int, for longest: Span) -> [String] {
        if let kept { return [outlasting(kept)] }
        guard held > 0 else { return [] }
        let warnings = [
            requests.flatMap { tooFew($0, holding: held) }, passing.flatMap(tooFewAtOnce),
            span.flatMap { tooShort($0, for: longest) },
        ]
        return warnings.compactMap { $0 }
    }

    private func outlasting(_ proxy: Kept) -> String {
        let mend =
            switch proxy {
            case .nginx: "take `keepalive` out of that upstream"
            case .haproxy:
                "write `option http-server-close` and `http-reuse never` into that backend"
            case .caddy: "write `transport http { keepalive off }` into it"
            }
        return
            "\(name) keeps its connections (\(position)): after the flip they lead on to the release before, which is served, or answers nobody any more; \(mend)"
    }

    private func tooFew(_ most: Int, holding held: Int) -> String? {
        let listeners = listeners ?? 0
        let (needed, isOver) = held.addingReportingOverflow(listeners)
        guard !isOver, most <= needed else { return nil }
        let pages =
            listeners == 0 ? "" : " and \(listeners) open pages that listen (gate.streams)"
        let (fitting, isTooMuch) = most.addingReportingOverflow(needed)
        return "\(name) is \(most) (\(position)), and \(held) held requests\(pages) count in it: "
            + "beyond so many everybody waits at the door, readers too; set it to \(isTooMuch ? needed : fitting), or lower the plan's hold_at_most"
    }

    private func tooFewAtOnce(_ most: Int) -> String? {
        let released = HoldingRoom.releasedAtOnce
        guard most < released else { return nil }
        return
            "\(name) is \(most) (\(position)), and up to \(released) held writes go on at once when the gate opens: "
            + "those beyond wait, and get 503 when `timeout queue` is over (`timeout connect` without it); "
            + "set it to \(released), or `timeout queue` to what \(released) of them take one after the other"
    }

    private func tooShort(_ span: Span, for longest: Span) -> String? {
        guard span <= longest else { return nil }
        return
            "\(name) is \(span) (\(position)), and the plan holds requests for up to \(longest): "
            + "whoever waits for longer gets 503 or no answer, and a write may be done nevertheless when the gate opens; "
            + "set it to \(longest + .minutes(1)), or lower the plan's hold_for"
    }
}
