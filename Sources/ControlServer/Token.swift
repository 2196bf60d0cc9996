// SPDX-License-Identifier: Apache-2.0

import ContentDigest
public import UpgradeModel

/// A bearer token: `sluice-` and 64 hexadecimal digits, 256 bits from the system's random source.
///
/// The store has its SHA-256 and nothing else. The fixed beginning lets programs that look for leaked secrets find one.
public struct Token: Sendable {
    private static let prefix = "sluice-"

    public let text: String

    /// A new one.
    public init() {
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        for _ in 0..<4 {
            let number = generator.next()
            for shift in stride(from: 0, to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
            }
        }
        text = Token.prefix + Digest(bytes: bytes).hexadecimal
    }

    /// - Returns: `nil` unless the text has the shape of a token.
    init?(text: String) {
        guard text.hasPrefix(Token.prefix),
            Digest(String(text.dropFirst(Token.prefix.count))) != nil
        else {
            return nil
        }
        self.text = text
    }

    public var hash: Digest { Digest.sha256(of: text) }
}
