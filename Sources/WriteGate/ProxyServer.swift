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
    /// HTTP/2 came in clear: its listener may speak nothing else.
    public var speaksHTTP2: Bool
    /// `10.0.0.7`, `::1` or `unix:/run/site.sock`.
    public var address: String
    /// 0 for a unix socket.
    public var port: UInt16
    /// The host that was asked for, which led to this server.
    public var host: String
    /// The server's own first name; empty for one that has none.
    public var name: String

    /// Reads the field of the log: `http,HTTP/1.1,,10.0.0.7,80,shop.example,_`.
    ///
    /// - Returns: `nil` for what is not of that form.
    init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 7, ["http", "https"].contains(parts[0]), !parts[3].isEmpty,
            !parts[5].isEmpty
        else { return nil }
        address = parts[3]
        if address.hasPrefix("unix:/") {
            port = 0
        } else {
            guard let port = UInt16(parts[4]), port > 0 else { return nil }
            self.port = port
        }
        isEncrypted = parts[0] == "https"
        // In TLS both sides agree on a version.
        speaksHTTP2 = !isEncrypted && !parts[1].hasPrefix("HTTP/1.")
        expectsProxyLine = !parts[2].isEmpty
        host = parts[5]
        name = parts[6]
    }

    /// The same as the log has it.
    var text: String {
        let scheme = isEncrypted ? "https" : "http"
        let version = speaksHTTP2 ? "HTTP/2.0" : "HTTP/1.1"
        // The log has the client's address there.
        let line = expectsProxyLine ? "::" : ""
        let port = port == 0 ? "" : "\(port)"
        return "\(scheme),\(version),\(line),\(address),\(port),\(host),\(name)"
    }

    /// The URL of a path there, as a client writes it.
    public func url(_ path: String) -> String {
        let scheme = isEncrypted ? "https" : "http"
        let isUsual = port == 0 || port == (isEncrypted ? 443 : 80)
        return "\(scheme)://\(host)\(isUsual ? "" : ":\(port)")\(path)"
    }

    /// What to connect to: address and port, or `unix:` and a path.
    public var destination: String {
        if port == 0 { return address }
        return (address.contains(":") ? "[\(address)]" : address) + ":\(port)"
    }

    /// Whether both are one server of the proxy, whatever host was asked for.
    func isSame(as other: ProxyServer) -> Bool {
        var same = self
        same.host = other.host
        return same == other
    }
}
