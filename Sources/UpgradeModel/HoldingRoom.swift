// SPDX-License-Identifier: Apache-2.0

/// How many held requests a node has room for beside its proxy: its agent while they wait, and the application's listen queue when
/// they are let go.
public struct HoldingRoom: Hashable, Codable, Sendable {
    /// What the agent can hold at once: a connection each.
    public var requests: Int
    /// Its limit of open files, which bounds that.
    public var openFiles: Int
    /// Where the application listens; empty where that is not known.
    public var queues: [Queue]
    /// `net.core.somaxconn`: no listen queue is longer, whatever was asked for.
    public var longestQueue: Int
    /// The agent holds no request for longer, whatever the plan says; `nil`: an older agent does not say.
    public var longestHold: Span?

    /// The listen queue of one socket.
    public struct Queue: Hashable, Codable, Sendable {
        /// Path, or address and port.
        public var place: String
        /// As listen(2) was told, and the kernel has cut it.
        public var length: Int

        public init(place: String, length: Int) {
            self.place = place
            self.length = length
        }

        /// A full queue of a unix socket refuses at once, which the client gets as 502; one of TCP lets whoever comes try again.
        var isUnix: Bool { place.utf8.first == 47 }
    }

    /// As many go to an application at once when the gate opens, before it has shown that it is quick.
    public static let releasedAtOnce = 64
    /// A length for everything that a gate lets go at once, and for those who come meanwhile.
    private static let fitting = 2 * releasedAtOnce

    /// With so many an agent is bounded by itself.
    private static let plentyOfFiles = 16_384

    public init(
        requests: Int, openFiles: Int, queues: [Queue], longestQueue: Int, longestHold: Span? = nil
    ) {
        self.requests = requests
        self.openFiles = openFiles
        self.queues = queues
        self.longestQueue = longestQueue
        self.longestHold = longestHold
    }

    /// What stands in the way of so many requests that are held for so long, each with what would not; empty when nothing does.
    public func warnings(holding held: Int, for longest: Span = .zero) -> [String] {
        guard held > 0 else { return [] }
        var warnings: [String] = []
        if let longestHold, longestHold < longest {
            warnings.append(
                "its agent holds no request for longer than \(longestHold) (gate.longest_hold in agent.yaml), and the plan holds them for up to \(longest): "
                    + "whoever waits for longer gets 503; set it to \(longest), "
                    + "and what waits for the gate's answer to \(longest + .seconds(10)) (nginx: proxy_read_timeout of /_sluice/admit), "
                    + "or lower the plan's hold_for"
            )
        }
        if held > requests {
            warnings.append(
                "its agent has room for \(requests) held requests (\(openFiles) open files), and the plan holds \(held): "
                    + (openFiles < HoldingRoom.plentyOfFiles
                        ? "set LimitNOFILE=65536 in the agent's unit, or lower" : "lower")
                    + " the plan's hold_at_most to \(requests)"
            )
        }
        let atOnce = min(held, HoldingRoom.releasedAtOnce)
        for queue in queues where queue.length < atOnce {
            let isCut = longestQueue < HoldingRoom.fitting
            warnings.append(
                "the application's listen queue at \(queue.place) takes \(queue.length), and up to \(atOnce) of the held requests come at once: "
                    + (queue.isUnix
                        ? "those that it has no place for get 502"
                        : "those that it has no place for wait for seconds")
                    + "; give it a backlog of \(HoldingRoom.fitting)"
                    + (isCut
                        ? ", and raise net.core.somaxconn, which is \(longestQueue), to as much"
                        : "")
            )
        }
        return warnings
    }
}
