// SPDX-License-Identifier: Apache-2.0

import CurlClient

/// Where a marked write is sent, to see whether the proxy asks the gate.
public struct ProbeTarget: Hashable, Sendable {
    /// How a listener of the proxy wants a connection to begin.
    public struct Approach: Hashable, Sendable {
        /// With a line of the PROXY protocol.
        public var withProxyLine = false
        /// In HTTP/2, though in clear.
        public var inHTTP2 = false

        public init(withProxyLine: Bool = false, inHTTP2: Bool = false) {
            self.withProxyLine = withProxyLine
            self.inHTTP2 = inHTTP2
        }
    }

    /// As a client of the application writes it.
    public var url: String
    /// Address and port of this machine's proxy, or `unix:` and the path of a socket.
    public var destination: String
    /// What the proxy's log says of the listener, or nothing out of the ordinary.
    public var likely: Approach

    public init(url: String, destination: String, likely: Approach = Approach()) {
        self.url = url
        self.destination = destination
        self.likely = likely
    }

    /// All that the listener may want, the likeliest first. Nobody has to write it down, and the log cannot say it of each.
    public var approaches: [Approach] {
        let isEncrypted = url.hasPrefix("https:")
        let all = [false, true].flatMap { inHTTP2 in
            [false, true].map { Approach(withProxyLine: $0, inHTTP2: inHTTP2) }
        }
        return [likely] + all.filter { $0 != likely && !(isEncrypted && $0.inHTTP2) }
    }

    /// - Parameter address: where the proxy of this machine listens, at the port that the URL names; or `unix:` and a path.
    /// - Returns: `nil` for what is no URL without a query.
    init?(_ url: String, at address: String) {
        guard let target = HTTPAddress(url) else { return nil }
        if address.hasPrefix("unix:/") {
            self.init(url: url, destination: address)
            return
        }
        let port = target.port ?? (target.isEncrypted ? 443 : 80)
        let host = address.contains(":") ? "[\(address)]" : address
        guard HTTPAddress("http://\(host):\(port)") != nil else { return nil }
        self.init(url: url, destination: "\(host):\(port)")
    }
}
