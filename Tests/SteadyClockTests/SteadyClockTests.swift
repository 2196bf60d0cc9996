// SPDX-License-Identifier: Apache-2.0

import SteadyClock
import Testing
import UpgradeModel

@Suite struct SteadyClockTests {
    @Test func startsAtTheWallClock() {
        let before = SteadyClock.wall
        let now = SteadyClock().now
        #expect(before <= now)
        #expect(now <= SteadyClock.wall + Span(milliseconds: 1_000))
    }

    @Test func neverStartsBehindWhatWasStored() {
        let future = SteadyClock.wall + Span(milliseconds: 86_400_000)
        let clock = SteadyClock(notBefore: future)
        #expect(clock.now >= future)
    }

    @Test func goesOnFromThereAndNeverBack() async throws {
        let clock = SteadyClock(notBefore: SteadyClock.wall + Span(milliseconds: 86_400_000))
        var last = clock.now
        let first = last
        while last < first + Span(milliseconds: 5) {
            let next = clock.now
            try #require(next >= last)
            last = next
            await Task.yield()
        }
    }
}
