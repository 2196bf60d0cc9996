// SPDX-License-Identifier: Apache-2.0

import CurlClient

/// Where a marked write is sent, to see whether the proxy asks the gate.
public struct ProbeTarget: Hashable, Sendable {
    /// As a client of the application writes it.
    public var url: String
    /// Address and port of this machine's proxy.
    public var destination: String
    /// The proxy's listener expects a line of the PROXY protocol.
    public var expectsProxyLine: Bool

    public init(url: String, destination: String, expectsProxyLine: Bool = false) {
        self.url = url
        self.destination = destination
        self.expectsProxyLine = expectsProxyLine
    }

    /// - Parameter address: where the proxy of this machine listens, at the port that the URL names.
    /// - Returns: `nil` for what is no URL without a query.
    init?(_ url: String, at address: String) {
        guard let target = HTTPAddress(url) else { return nil }
        let port = target.port ?? (target.isEncrypted ? 443 : 80)
        let host = address.contains(":") ? "[\(address)]" : address
        guard HTTPAddress("http://\(host):\(port)") != nil else { return nil }
        self.init(url: url, destination: "\(host):\(port)")
    }
}
