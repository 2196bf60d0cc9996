// SPDX-License-Identifier: Apache-2.0

import Glibc
import UpgradeModel

/// The agent's clock: the wall clock once, at the start, and the boot clock from then on.
///
/// A wall clock that jumps changes nothing, and a restart never goes back behind what has been stored.
struct SteadyClock: Sendable {
    private let offset: Int64

    /// - Parameter floor: the last instant that was stored.
    init(notBefore floor: Instant = Instant(milliseconds: 0)) {
        let start = max(SteadyClock.read(CLOCK_REALTIME), floor.milliseconds)
        offset = start - SteadyClock.read(CLOCK_BOOTTIME)
    }

    var now: Instant { Instant(milliseconds: SteadyClock.read(CLOCK_BOOTTIME) + offset) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
