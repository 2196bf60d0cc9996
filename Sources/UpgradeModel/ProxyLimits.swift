// SPDX-License-Identifier: Apache-2.0

/// How many requests a node's proxy can have open at once, as its own configuration says.
public struct ProxyLimits: Hashable, Codable, Sendable {
    public var workers: Int
    /// Of one worker; a held request takes two, the client's and the agent's.
    public var connections: Int
    /// Bounds for those who share something, such as an address.
    public var shares: [Share]
    /// How many requests one HTTP/2 connection has under way at most; `nil` without HTTP/2, and from an older agent.
    public var requestsOfConnection: Int?
    /// Open pages that may listen through it; each takes two connections. `nil` where none can, and from an older agent.
    public var listeners: Int?

    /// One `limit_conn`.
    public struct Share: Hashable, Codable, Sendable {
        /// What they share: `$binary_remote_addr`.
        public var key: String
        public var atMost: Int
        /// File and line.
        public var position: String

        private enum CodingKeys: String, CodingKey {
            case key, atMost
            case position = "place"
        }

        public init(key: String, atMost: Int, position: String) {
            self.key = key
            self.atMost = atMost
            self.position = position
        }
    }

    public init(
        workers: Int, connections: Int, shares: [Share], requestsOfConnection: Int? = nil,
        listeners: Int? = nil
    ) {
        self.workers = workers
        self.connections = connections
        self.shares = shares
        self.requestsOfConnection = requestsOfConnection
        self.listeners = listeners
    }

    /// What stands in the way of so many held requests, each with the figure that would not; empty when nothing does.
    public func warnings(holding held: Int) -> [String] {
        guard held > 0 else { return [] }
        var warnings = connectionWarnings(holding: held)
        if let most = requestsOfConnection, most <= held {
            warnings.append(
                "an HTTP/2 connection of its nginx has \(most) requests under way at most (http2_max_concurrent_streams), held ones too: "
                    + "a program or load balancer that sends so many writes through one connection gets no read through it meanwhile; "
                    + "set http2_max_concurrent_streams to \(most + held) where one does"
            )
        }
        for share in shares where share.atMost < held {
            let isClient = share.key.contains("addr") || share.key.contains("forwarded")
            warnings.append(
                "limit_conn \(share.atMost) by \(share.key) (\(share.position)) counts held requests: "
                    + (isClient
                        ? "whoever shares an address with so many of them gets 503, readers too; raise it by as many writes as one address may have waiting"
                        : "beyond so many everybody gets 503, readers too; raise it to \(share.atMost + held)")
            )
        }
        return warnings
    }

    private func connectionWarnings(holding held: Int) -> [String] {
        let listeners = listeners ?? 0
        let needed = (held + listeners) * 2
        let (all, isOver) = workers.multipliedReportingOverflow(by: connections)
        guard !isOver, needed > all else { return [] }
        let fitting = (needed + 1000) / max(1, workers) / 1024 * 1024 + 1024
        let pages =
            listeners == 0 ? "" : " and \(listeners) open pages that listen (gate.streams)"
        return [
            "its nginx has \(all) connections (worker_connections \(connections), \(workers) worker processes), and \(held) "
                + "held requests\(pages) take \(needed): set worker_connections to \(fitting), and worker_rlimit_nofile to twice that, "
                + "or lower the plan's hold_at_most" + (listeners == 0 ? "" : " or gate.streams")
        ]
    }
}
