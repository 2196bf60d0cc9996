// SPDX-License-Identifier: Apache-2.0

/// How far a request got in the proxy.
public enum ProxyPassage: String, Hashable, Sendable {
    /// The gate was asked, or the flags were.
    case asked
    /// To the application, and nobody was asked.
    case unasked
    /// Nobody was asked, and it did not reach the application: the proxy has answered it by itself.
    case none
}

/// A server of the proxy through which writes come, as the proxy's own log says.
public struct ProxyServer: Hashable, Sendable {
    public var isEncrypted: Bool
    /// Its listener expects a line of the PROXY protocol.
    public var expectsProxyLine: Bool
    /// `10.0.0.7` or `::1`.
    public var address: String
    public var port: UInt16
    /// The host that was asked for, which led to this server.
    public var host: String
    /// The server's own first name; empty for one that has none.
    public var name: String

    /// Reads the field of the log: `http,HTTP/1.1,,10.0.0.7,80,shop.example,_`.
    ///
    /// - Returns: `nil` for what is not of that form, and for a listener that speaks nothing but HTTP/2 in clear.
    init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 7, ["http", "https"].contains(parts[0]),
            let port = UInt16(parts[4]), port > 0, !parts[3].isEmpty, !parts[5].isEmpty,
            parts[0] == "https" || parts[1].hasPrefix("HTTP/1.")
        else { return nil }
        isEncrypted = parts[0] == "https"
        expectsProxyLine = !parts[2].isEmpty
        address = parts[3]
        self.port = port
        host = parts[5]
        name = parts[6]
    }

    /// The same as the log has it.
    var text: String {
        let scheme = isEncrypted ? "https" : "http"
        let line = expectsProxyLine ? address : ""
        return "\(scheme),HTTP/1.1,\(line),\(address),\(port),\(host),\(name)"
    }

    /// The URL of a path there, as a client writes it.
    public func url(_ path: String) -> String {
        let scheme = isEncrypted ? "https" : "http"
        let isUsual = port == (isEncrypted ? 443 : 80)
        return "\(scheme)://\(host)\(isUsual ? "" : ":\(port)")\(path)"
    }

    /// What to connect to: address and port.
    public var destination: String {
        (address.contains(":") ? "[\(address)]" : address) + ":\(port)"
    }

    /// Whether both are one server of the proxy, whatever host was asked for.
    func isSame(as other: ProxyServer) -> Bool {
        (isEncrypted, expectsProxyLine, address, port, name)
            == (other.isEncrypted, other.expectsProxyLine, other.address, other.port, other.name)
    }
}
