// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// Where the gate listens and what its limits are.
public struct GateConfiguration: Hashable, Sendable {
    /// Holds the sockets and the flag files. Made when absent, mode 0755. A proxy snippet names the same directory.
    public var runtimeDirectory: String
    /// A loopback address on which the gate says its mode and its counts, to anybody on this machine. Questions of a proxy are
    /// answered there only with ``loopbackToken``.
    public var loopback: Loopback?
    /// What a proxy that cannot use the unix socket has in its own configuration: `/forward-auth?token=…`.
    public var loopbackToken: String?
    /// Requests whose method says the opposite of what they do.
    public var routes: GateRoutes
    /// Permission bits of the two sockets. A proxy's workers need to write to them.
    public var socketMode: UInt32
    /// The group of the two sockets, such as that of the proxy's workers; `nil` leaves the group of the process.
    public var socketGroup: UInt32?
    /// Sets `net.unix.max_dgram_qlen` to 512 when it is lower and the process may: what systemd does at boot. With the
    /// kernel's default of 10, completions are lost whenever some writes end at once.
    public var lengthensDatagramQueue: Bool
    /// No request is held for longer, whatever the setting says. Must be shorter than the `proxy_read_timeout` of the
    /// proxy's admission location (120 s in the snippet).
    public var longestHold: Span
    /// A write in flight whose completion has not been seen for so long is counted as unknown.
    public var inFlightAtMost: Span
    /// How many writes are tracked at once; beyond it the oldest is counted as unknown.
    public var trackedAtMost: Int
    /// Connections beyond it are closed at once, which a proxy takes for an absent agent. Each held request has one. Also
    /// bounded by the limit of open files, less 256.
    public var connectionsAtMost: Int
    /// How many pages may listen for the mode at once; 0: none, and there is no socket for them. More are refused, and ask now and
    /// then instead. Each takes two of the proxy's connections. Bounded by the limit of open files as well.
    public var streamsAtMost: Int
    /// How many of those who waited go to the application at first when the gate opens; then as many more as come back.
    public var releasedFirst: Int
    /// How many of them may be there at once. Each of an application's listen queue and workers can take one.
    public var releasedAtMost: Int
    /// How long a request may take to arrive once its first byte has.
    public var requestTimeout: Span
    /// How long a kept-alive connection may be idle.
    public var idleTimeout: Span
    /// How often the thread of the streams looks whom it has to say something.
    var streamTick = Span.milliseconds(500)

    public init(
        runtimeDirectory: String = "/run/sluice", loopback: Loopback? = nil,
        routes: GateRoutes = GateRoutes(),
        socketMode: UInt32 = 0o660, socketGroup: UInt32? = nil,
        lengthensDatagramQueue: Bool = true, longestHold: Span = .seconds(110),
        inFlightAtMost: Span = .minutes(10), trackedAtMost: Int = 65_536,
        connectionsAtMost: Int = 8192, streamsAtMost: Int = 250, releasedFirst: Int = 4,
        releasedAtMost: Int = 1024,
        requestTimeout: Span = .seconds(5), idleTimeout: Span = .seconds(90)
    ) {
        self.runtimeDirectory = runtimeDirectory
        self.loopback = loopback
        self.routes = routes
        self.socketMode = socketMode
        self.socketGroup = socketGroup
        self.lengthensDatagramQueue = lengthensDatagramQueue
        self.longestHold = longestHold
        self.inFlightAtMost = inFlightAtMost
        self.trackedAtMost = trackedAtMost
        self.connectionsAtMost = connectionsAtMost
        self.streamsAtMost = streamsAtMost
        self.releasedFirst = releasedFirst
        self.releasedAtMost = releasedAtMost
        self.requestTimeout = requestTimeout
        self.idleTimeout = idleTimeout
    }

    /// An IPv4 loopback address: 127.0.0.0/8 and nothing else, since a node opens no port to the network.
    public struct Loopback: Hashable, Sendable {
        /// The last three numbers of `127.x.y.z`, and the port.
        public let address: UInt32
        public let port: UInt16

        /// Reads `127.0.0.1:9747`.
        ///
        /// - Returns: `nil` for anything that is not a loopback address with a port from 1 to 65535.
        public init?(_ text: String) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else { return nil }
            let numbers = parts[0].split(separator: ".", omittingEmptySubsequences: false)
                .map { UInt8($0) }
            guard numbers.count == 4, numbers[0] == 127 else { return nil }
            var address: UInt32 = 0
            for number in numbers {
                guard let number else { return nil }
                address = address << 8 | UInt32(number)
            }
            self.address = address
            self.port = port
        }
    }

    /// Where the proxy asks: `gate.sock`.
    public var admissionSocket: String { runtimeDirectory + "/gate.sock" }
    /// Where the proxy reports completions: `writes.sock`, datagrams.
    public var completionSocket: String { runtimeDirectory + "/writes.sock" }

    /// Where the proxy passes on who listens for the mode: `events.sock`.
    public var streamSocket: String { runtimeDirectory + "/events.sock" }

    /// The same with bounds that a limit of open files has room for. The rest of the agent keeps 256 descriptors to itself; where there
    /// is too little room, the streams have a quarter of it.
    func within(openFiles: Int) -> GateConfiguration {
        var result = self
        let room = max(16, openFiles - 256)
        result.streamsAtMost = min(streamsAtMost, max(room / 4, room - connectionsAtMost))
        result.connectionsAtMost = min(connectionsAtMost, room - result.streamsAtMost)
        return result
    }

    /// The longest request line with headers that is read.
    static let requestBytesAtMost = 16_384
}
