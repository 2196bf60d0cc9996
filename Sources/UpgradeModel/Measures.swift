// SPDX-License-Identifier: Apache-2.0

extension Span {
    /// For people, to three figures: `250ms`, `4.21s`, `3m 12s`, `2h 5m`, `3d 4h`.
    public var text: String {
        let sign = milliseconds < 0 ? "-" : ""
        let count = milliseconds.magnitude
        switch count {
        case ..<1000: return "\(sign)\(count)ms"
        case ..<10_000: return sign + decimal(count, unit: 1000, digits: 2) + "s"
        case ..<60_000: return sign + decimal(count, unit: 1000, digits: 1) + "s"
        case ..<3_600_000: return "\(sign)\(count / 60_000)m \(count / 1000 % 60)s"
        case ..<86_400_000: return "\(sign)\(count / 3_600_000)h \(count / 60_000 % 60)m"
        default: return "\(sign)\(count / 86_400_000)d \(count / 3_600_000 % 24)h"
        }
    }

    /// Seconds with milliseconds: `0.412s`, `75.003s`.
    public var seconds: String {
        (milliseconds < 0 ? "-" : "") + decimal(milliseconds.magnitude, unit: 1000, digits: 3) + "s"
    }
}

/// `count / unit` with this many digits after the point, rounded down.
public func decimal(_ count: UInt64, unit: UInt64, digits: Int) -> String {
    var fraction = ""
    var rest = count % unit
    for _ in 0..<digits {
        rest *= 10
        fraction.append("\(rest / unit)")
        rest %= unit
    }
    return "\(count / unit).\(fraction)"
}

/// `1 node`, `3 nodes`
public func counted(_ count: Int, _ noun: String, plural: String? = nil) -> String {
    "\(count) \(count == 1 ? noun : plural ?? noun + "s")"
}
