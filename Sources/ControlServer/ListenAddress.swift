// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Where a coordinator listens: `HOST:PORT` or `[IPv6]:PORT`.
public struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    /// 0 takes a free one.
    public var port: Int

    /// This machine only.
    public static let loopback = ListenAddress(host: "127.0.0.1", port: 9740)

    private init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    public init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"),
            let port = UInt16(argument[argument.index(after: colon)...])
        else { return nil }
        var host = String(argument[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty, host.utf8.count <= 255, !host.contains("/") else { return nil }
        self.host = host
        self.port = Int(port)
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Whether only this machine can reach it. A name other than `localhost` may mean anything.
    var isLoopback: Bool { host == "localhost" || isLoopbackAddress(host) }
}

/// Whether an address in digits is this machine's own: `127.0.0.0/8` or `::1`.
func isLoopbackAddress(_ text: String) -> Bool {
    if text == "::1" { return true }
    var address = in_addr()
    guard inet_pton(AF_INET, text, &address) == 1 else { return false }
    return UInt32(bigEndian: address.s_addr) >> 24 == 127
}
