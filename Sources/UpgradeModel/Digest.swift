// SPDX-License-Identifier: Apache-2.0

/// A SHA-256 digest: 64 lower-case hexadecimal digits. The identity of a blob, a plan, a migration or a bundle.
public struct Digest: Hashable, Comparable, Codable, Sendable, CustomStringConvertible,
    LosslessStringConvertible
{
    /// 64 lower-case hexadecimal digits.
    public let hexadecimal: String

    /// - Returns: `nil` unless the text is 64 lower-case hexadecimal digits.
    public init?(_ hexadecimal: String) {
        guard hexadecimal.utf8.count == 64,
            hexadecimal.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
        else { return nil }
        self.hexadecimal = hexadecimal
    }

    /// - Parameter bytes: exactly 32 bytes; anything else is a fault of the caller.
    public init(bytes: some Sequence<UInt8>) {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        precondition(text.count == 64, "a SHA-256 digest has 32 bytes")
        hexadecimal = String(decoding: text, as: UTF8.self)
    }

    public var description: String { hexadecimal }

    /// The first 12 digits, for people.
    public var short: String { String(hexadecimal.prefix(12)) }

    public static func < (left: Digest, right: Digest) -> Bool {
        left.hexadecimal < right.hexadecimal
    }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let digest = Digest(text) else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "not a SHA-256 in lower-case hexadecimal"))
        }
        self = digest
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(hexadecimal)
    }
}
