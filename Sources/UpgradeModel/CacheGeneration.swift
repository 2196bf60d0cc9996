// SPDX-License-Identifier: Apache-2.0

/// The number that separates what a cache stored before a flush from what it stores after it. Rises; never reused on a node.
public struct CacheGeneration: RawRepresentable, Hashable, Comparable, Codable, Sendable {
    public let rawValue: Int64
    public init(rawValue: Int64) { self.rawValue = rawValue }
    public static let zero = CacheGeneration(rawValue: 0)
    public var next: CacheGeneration { CacheGeneration(rawValue: rawValue + 1) }
    public static func < (left: CacheGeneration, right: CacheGeneration) -> Bool {
        left.rawValue < right.rawValue
    }

    public init(from decoder: any Decoder) throws {
        rawValue = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
