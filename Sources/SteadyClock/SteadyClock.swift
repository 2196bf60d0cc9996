// SPDX-License-Identifier: Apache-2.0

import Glibc
public import UpgradeModel

/// Milliseconds that never go back, whatever happens to the wall clock: the clock that `Instant` describes.
///
/// Takes the wall clock once and advances with `CLOCK_BOOTTIME`, which also counts while the machine sleeps.
public struct SteadyClock: Sendable {
    private let origin: Instant
    private let bootOrigin: Int64

    /// - Parameter earliest: the latest stored instant; the clock starts there when the wall clock is behind it.
    public init(notBefore earliest: Instant? = nil) {
        let wall = Self.wall
        origin = max(wall, earliest ?? wall)
        bootOrigin = Self.read(CLOCK_BOOTTIME)
    }

    public var now: Instant {
        origin + Span(milliseconds: Self.read(CLOCK_BOOTTIME) - bootOrigin)
    }

    /// What the wall clock says now; it may have been set back since the last look.
    public static var wall: Instant { Instant(milliseconds: read(CLOCK_REALTIME)) }

    /// The time since the machine booted, its sleep included: for spans only, it is no date.
    public static var sinceBoot: Instant { Instant(milliseconds: read(CLOCK_BOOTTIME)) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        let status = clock_gettime(clock, &time)
        precondition(status == 0, "the kernel has no clock \(clock)")
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
