// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@testable import WriteGate

/// The value that decides, without a socket and without a clock.
struct AdmissionTests {
    private var admission = Admission(
        .open, configuration: GateConfiguration(longestHold: .seconds(30), trackedAtMost: 3))

    private static func ticket(_ number: UInt64) -> Ticket { Ticket(number: number) }
    private static func request(_ number: Int) -> RequestIdentifier? {
        RequestIdentifier("r\(number)")
    }
    private static func at(_ seconds: Int64) -> Instant { Instant(milliseconds: seconds * 1000) }

    private mutating func ask(_ number: Int, _ kind: RequestKind = .write, at seconds: Int64 = 0)
        -> Answer?
    {
        admission.ask(Self.ticket(UInt64(number)), kind, Self.request(number), at: Self.at(seconds))
    }

    private mutating func hold(_ atMost: Int = 10, seconds: Int64 = 10, reads: Bool = false)
        -> [Admission.Reply]
    {
        let limits = HoldLimits(
            atMost: atMost, duration: .seconds(seconds), retryAfter: .seconds(4))
        return admission.set(
            GateSetting(writes: .hold(limits), readHold: reads ? limits : nil), at: Self.at(0))
    }

    @Test mutating func openAdmitsAndCountsWritesUntilTheyComplete() {
        #expect(ask(1) == .admit)
        #expect(ask(2, .read) == .admit)
        #expect(admission.counts.writesInFlight == 1)
        let completed = Self.request(1).flatMap { admission.complete($0) }
        #expect(completed == nil)
        #expect(admission.counts.writesInFlight == 0)
        #expect(admission.totals.completed == 1)
    }

    @Test mutating func theHeldAreReleasedInTheOrderOfTheirArrival() {
        _ = hold()
        for number in [3, 1, 2] { #expect(ask(number) == nil) }
        admission.withdraw(Self.ticket(1))
        let replies = admission.set(.open, at: Self.at(1))
        #expect(replies.map(\.ticket.number) == [3, 2])
        #expect(replies.allSatisfy { $0.answer == .admit })
        #expect(admission.counts.writesInFlight == 2)
        #expect(admission.totals.abandoned == 1)
    }

    @Test mutating func eachIsHeldForItsOwnTime() {
        _ = hold(seconds: 10)
        #expect(ask(1, at: 0) == nil)
        #expect(ask(2, at: 4) == nil)
        #expect(admission.nextDeadline == Self.at(10))
        let early = admission.expire(at: Self.at(9))
        #expect(early.isEmpty)
        let replies = admission.expire(at: Self.at(10))
        #expect(replies.map(\.ticket.number) == [1])
        #expect(
            replies.first?.answer == .refuse(.holdExpired, retryAfter: .seconds(4), message: ""))
        #expect(admission.nextDeadline == Self.at(14))
    }

    @Test mutating func theLongestHoldCapsASetting() {
        _ = hold(seconds: 3600)
        #expect(ask(1, at: 0) == nil)
        #expect(admission.nextDeadline == Self.at(30))
    }

    @Test mutating func nothingIsHeldWithALimitOfNone() {
        _ = hold(0)
        #expect(ask(1) == .refuse(.holdFull, retryAfter: .seconds(4), message: ""))
        #expect(admission.totals.writesRefused.overflowed == 1)
    }

    @Test mutating func refusedReadsAndRefusedWritesAreCountedApart() {
        _ = hold(1, seconds: 10, reads: true)
        for number in 1...2 { _ = ask(number) }
        for number in 3...5 { _ = ask(number, .read) }
        #expect(admission.totals.writesRefused.overflowed == 1)
        #expect(admission.totals.readsRefused.overflowed == 2)
        _ = admission.expire(at: Self.at(10))
        #expect(admission.totals.writesRefused.expired == 1)
        #expect(admission.totals.readsRefused.expired == 1)
        _ = admission.set(
            GateSetting(writes: .refuse(retryAfter: .seconds(1), message: "")), at: Self.at(11))
        _ = ask(6, at: 11)
        _ = ask(7, .read, at: 11)
        #expect(admission.totals.writesRefused.total == 3)
        #expect(
            admission.totals.readsRefused.total == 3 && admission.totals.readsRefused.closed == 0)
    }

    @Test mutating func aLoweredLimitRefusesTheNewest() {
        _ = hold(10)
        for number in 1...4 { #expect(ask(number) == nil) }
        let replies = hold(2)
        #expect(replies.map(\.ticket.number) == [3, 4])
        #expect(admission.counts.writesHeld == 2)
    }

    @Test mutating func aShorterHoldRefusesThoseWhoHaveWaitedLonger() {
        _ = hold(seconds: 30)
        #expect(ask(1, at: -20) == nil)
        #expect(ask(2, at: -1) == nil)
        let replies = hold(seconds: 5)
        #expect(replies.map(\.ticket.number) == [1])
    }

    @Test mutating func readsAndWritesAreHeldApart() {
        _ = hold(1, reads: true)
        #expect(ask(1) == nil)
        #expect(ask(2, .read) == nil)
        let replies = hold(1)
        #expect(replies.map(\.ticket.number) == [2])
        #expect(admission.counts.readsHeld == 0 && admission.counts.writesHeld == 1)
        #expect(admission.counts.writesInFlight == 0)
    }

    @Test mutating func aRequestThatWasAdmittedIsAdmittedAgainAfterTheGateHasClosed() {
        #expect(ask(1) == .admit)
        _ = admission.set(
            GateSetting(writes: .refuse(retryAfter: .seconds(1), message: "")), at: Self.at(0))
        #expect(ask(1) == .admit)
        #expect(admission.totals.admitted == 1)
        #expect(ask(2) == .refuse(.readOnly, retryAfter: .seconds(1), message: ""))
    }

    @Test mutating func aCompletionOfAHeldRequestTakesItOutOfTheLine() throws {
        _ = hold()
        #expect(ask(1) == nil)
        let request = try #require(Self.request(1))
        let ticket = admission.complete(request)
        #expect(ticket == Self.ticket(1))
        let replies = admission.set(.open, at: Self.at(1))
        #expect(replies.isEmpty)
        #expect(admission.counts.writesInFlight == 0)
    }

    @Test mutating func moreThanIsTrackedAndOlderThanAllowedBecomeUnknown() {
        for number in 1...5 { #expect(ask(number, at: Int64(number)) == .admit) }
        #expect(admission.counts.writesInFlight == 3)
        #expect(admission.totals.unknown == 2)
        #expect(admission.counts.oldestInFlight == Self.at(3))
        let replies = admission.expire(at: Self.at(604))
        #expect(replies.isEmpty)
        #expect(admission.counts.writesInFlight == 1)
        #expect(admission.totals.unknown == 4)
    }

    @Test mutating func anAnswerThatCouldNotBeDeliveredIsNotInFlight() throws {
        #expect(ask(1) == .admit)
        admission.undeliverable(try #require(Self.request(1)))
        #expect(admission.counts.writesInFlight == 0)
    }

    @Test func aLineKeepsItsOrderThroughAnythingThatLeavesIt() {
        var line = Line<Int, Int>()
        var expected: [Int] = []
        var seed: UInt64 = 7
        for turn in 0..<5000 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let choice = Int(seed >> 33)
            if choice % 3 != 0 || expected.isEmpty {
                line.append(turn, turn)
                expected.append(turn)
            } else {
                let gone = expected.remove(at: choice % expected.count)
                #expect(line.remove(gone) == gone)
            }
            guard line.count == expected.count, line.first?.key == expected.first else {
                Issue.record("differs at turn \(turn)")
                return
            }
        }
        #expect(line.inOrder.map(\.key) == expected)
    }
}
