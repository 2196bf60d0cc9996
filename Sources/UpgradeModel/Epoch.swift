// SPDX-License-Identifier: Apache-2.0

/// The leader's fencing token. Rises by one with each coordinator that takes over; whoever receives an effect refuses a lower one.
public struct Epoch: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    public let rawValue: Int64
    public init(rawValue: Int64) { self.rawValue = rawValue }
    public static let zero = Epoch(rawValue: 0)
    public var next: Epoch { Epoch(rawValue: rawValue + 1) }
    public static func < (left: Epoch, right: Epoch) -> Bool { left.rawValue < right.rawValue }

    public init(from decoder: any Decoder) throws {
        rawValue = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
