// SPDX-License-Identifier: Apache-2.0

internal import FoundationEssentials
internal import UpgradeModel

extension Instant {
    /// `2026-11-22T18:29:03Z`
    var text: String {
        Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(.iso8601)
    }
}

/// A number of bytes for people: `812 B`, `4.2 KiB`, `1.0 GiB`.
func bytes(_ count: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var unit = 0
    var scale: Int64 = 1
    while count / scale >= 1024, unit + 1 < units.count {
        scale *= 1024
        unit += 1
    }
    if unit == 0 { return "\(count) B" }
    return decimal(UInt64(count.magnitude), unit: UInt64(scale), digits: 1) + " \(units[unit])"
}
