// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import UpgradeModel

@Suite struct TimeTests {
    @Test(arguments: [
        ("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000),
        ("0s", 0), ("007s", 7000), ("3650d", 315_360_000_000),
    ])
    func spansAreOneNumberAndOneUnit(_ text: String, _ milliseconds: Int64) {
        #expect(Span(text: text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "s", "10", "10 s", " 10s", "10s ", "1m30s", "-5s", "+5s", "1.5s", "1e3s", "5M", "5S",
        "5sec", "3651d", "9999999999999s", "٣s", "½s",
    ])
    func anythingElseIsNoSpan(_ text: String) { #expect(Span(text: text) == nil) }

    @Test(
        arguments: [
            (0, "0s"), (1, "1ms"), (1000, "1s"), (1500, "1500ms"), (90_000, "90s"), (300_000, "5m"),
            (7_200_000, "2h"), (86_400_000, "1d"), (90_000_000, "25h"),
        ] as [(Int64, String)])
    func theShortestTextReadsBackAsTheSameSpan(_ milliseconds: Int64, _ text: String) {
        let span = Span(milliseconds: milliseconds)
        #expect(span.description == text)
        #expect(Span(text: text) == span)
    }

    @Test func instantsAndSpansAddUp() {
        let start = Instant(milliseconds: 1_000_000)
        let end = start + .seconds(3)
        #expect(end - start == .milliseconds(3000))
        #expect(start < end)
        #expect(.minutes(1) + .seconds(30) == Span(text: "90s"))
    }

    @Test
    func aSumOrADifferenceStaysAtTheEndsOfTheRangeAndEndsNoProgram() {
        let most = Span(milliseconds: .max)
        let least = Span(milliseconds: .min)
        #expect(most + .seconds(1) == most)
        #expect(least + .milliseconds(-1) == least)
        let end = Instant(milliseconds: .max)
        #expect(end + .seconds(1) == end)
        #expect(Instant(milliseconds: .min) - end == least)
        #expect(end - Instant(milliseconds: -1) == most)
    }

    @Test func timeTravelsAsANumberOfMilliseconds() throws {
        let coder = JSONEncoder()
        #expect(String(decoding: try coder.encode(Span.seconds(5)), as: UTF8.self) == "5000")
        let instant = Instant(milliseconds: 1_700_000_000_123)
        #expect(String(decoding: try coder.encode(instant), as: UTF8.self) == "1700000000123")
        #expect(try JSONDecoder().decode(Instant.self, from: coder.encode(instant)) == instant)
    }
}
