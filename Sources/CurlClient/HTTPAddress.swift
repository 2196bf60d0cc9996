// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A URL taken apart as far as it matters to where a token may be sent.
///
/// The rule of both programs: what would travel in clear stays on this machine, unless a person has said that the network is
/// trusted. A host is compared as an address, never by how its name begins.
public struct HTTPAddress: Hashable, Sendable {
    /// Whether the scheme is `https`.
    public let isEncrypted: Bool
    /// In lower case; an IPv6 address without its brackets.
    public let host: String
    /// `nil` for the scheme's own.
    public let port: UInt16?

    /// - Returns: `nil` unless the URL is `http://` or `https://` with a host, without a user name, a query and a fragment.
    public init?(_ url: String) {
        guard url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !url.contains("?"),
            !url.contains("#"), !url.contains("\\")
        else { return nil }
        let isEncrypted = url.hasPrefix("https://")
        guard isEncrypted || url.hasPrefix("http://") else { return nil }
        let authority = url.dropFirst(isEncrypted ? 8 : 7).prefix { $0 != "/" }
        let end: Substring.Index
        if authority.hasPrefix("[") {
            guard let bracket = authority.firstIndex(of: "]") else { return nil }
            host = authority[..<bracket].dropFirst().lowercased()
            guard HTTPAddress.bytes(of: host, AF_INET6, count: 16) != nil else { return nil }
            end = authority.index(after: bracket)
        } else {
            end = authority.firstIndex(of: ":") ?? authority.endIndex
            host = authority[..<end].lowercased()
            guard !host.isEmpty, host.utf8.allSatisfy(HTTPAddress.isOfHostName) else { return nil }
        }
        let rest = authority[end...]
        if rest.isEmpty {
            port = nil
        } else {
            let digits = rest.dropFirst()
            guard rest.hasPrefix(":"), digits.utf8.allSatisfy({ (48...57).contains($0) }),
                let number = UInt16(digits), number > 0
            else { return nil }
            port = number
        }
        self.isEncrypted = isEncrypted
    }

    /// Whether what is sent there stays on this machine: `localhost`, an address of 127.0.0.0/8, or `::1`.
    public var isThisMachine: Bool {
        if host == "localhost" || host == "localhost." { return true }
        if let bytes = HTTPAddress.bytes(of: host, AF_INET, count: 4) { return bytes[0] == 127 }
        guard let bytes = HTTPAddress.bytes(of: host, AF_INET6, count: 16) else { return false }
        let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 255 && bytes[11] == 255
        return isMapped ? bytes[12] == 127 : bytes == Array(repeating: 0, count: 15) + [1]
    }

    /// Whether a token would be read by others on its way.
    public var isInClear: Bool { !isEncrypted && !isThisMachine }

    private static func bytes(of text: String, _ family: Int32, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    private static func isOfHostName(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
            || byte == 45 || byte == 46 || byte == 95
    }
}
