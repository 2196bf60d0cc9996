// SPDX-License-Identifier: Apache-2.0

/// A length of time in whole milliseconds. Written `250ms`, `10s`, `5m`, `2h` or `1d` in plans, and as a number of milliseconds on the wire.
/// A sum stays at the ends of the range.
public struct Span: Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
    public var milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static func milliseconds(_ count: Int64) -> Span { Span(milliseconds: count) }
    public static func seconds(_ count: Int64) -> Span { Span(milliseconds: count * 1000) }
    public static func minutes(_ count: Int64) -> Span { Span(milliseconds: count * 60_000) }
    public static let zero = Span(milliseconds: 0)

    public static func < (left: Span, right: Span) -> Bool {
        left.milliseconds < right.milliseconds
    }
    public static func + (left: Span, right: Span) -> Span {
        Span(milliseconds: saturatingSum(left.milliseconds, right.milliseconds))
    }

    private static let units: [(suffix: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// Reads `250ms`, `10s`, `5m`, `2h`, `1d`: one whole number and one unit.
    ///
    /// - Returns: `nil` for anything else, and for more than ten years.
    public init?(text: String) {
        let digits = text.prefix(while: { $0.isASCII && $0.isNumber })
        guard !digits.isEmpty, digits.utf8.count <= 12, let count = Int64(digits),
            let unit = Span.units.first(where: { $0.suffix == text.dropFirst(digits.count) })
        else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: unit.milliseconds)
        guard !overflow, product <= 315_360_000_000 else { return nil }
        self.init(milliseconds: product)
    }

    /// The shortest text that reads back as the same span: `90s`, `5m`, `250ms`.
    public var description: String {
        if milliseconds == 0 { return "0s" }
        let unit = Span.units.last(where: { milliseconds % $0.milliseconds == 0 }) ?? Span.units[0]
        return "\(milliseconds / unit.milliseconds)\(unit.suffix)"
    }

    public init(from decoder: any Decoder) throws {
        milliseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(milliseconds)
    }
}
