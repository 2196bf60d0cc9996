// SPDX-License-Identifier: Apache-2.0

/// A point in time of a coordinator's or an agent's steady clock, in whole milliseconds since 1970.
///
/// The steady clock takes the wall clock once, when the process starts (or the last stored instant, when that is later), and
/// from then on advances with the boot clock. A wall clock that jumps changes nothing; a restart never goes back.
///
/// Sums and differences stay at the ends of the range: a number from outside cannot end a program.
public struct Instant: Hashable, Comparable, Codable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    public var milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static func < (left: Instant, right: Instant) -> Bool {
        left.milliseconds < right.milliseconds
    }
    public static func + (left: Instant, right: Span) -> Instant {
        Instant(milliseconds: saturatingSum(left.milliseconds, right.milliseconds))
    }
    public static func - (left: Instant, right: Instant) -> Span {
        Span(milliseconds: saturatingDifference(left.milliseconds, right.milliseconds))
    }

    public init(from decoder: any Decoder) throws {
        milliseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(milliseconds)
    }
}

func saturatingSum(_ left: Int64, _ right: Int64) -> Int64 {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? (left < 0 ? .min : .max) : sum
}

func saturatingDifference(_ left: Int64, _ right: Int64) -> Int64 {
    let (difference, overflow) = left.subtractingReportingOverflow(right)
    return overflow ? (left < 0 ? .min : .max) : difference
}
