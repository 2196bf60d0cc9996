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
        admission.ask(
            Asked(ticket: Self.ticket(UInt64(number)), kind: kind, request: Self.request(number)),
            at: Self.at(seconds))
    }

    private mutating func complete(
        _ number: Int, status: Int = 200, by process: Int32 = 0, at seconds: Int64 = 0
    )
        -> Ticket?
    {
        let datagram = "sluice1 done r\(number) 1 \(status) asked -"
        guard let record = CompletionRecord(Array(datagram.utf8)) else { return nil }
        return admission.complete(record, by: process, at: Self.at(seconds))
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
        let completed = complete(1)
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
            replies.first?.answer == .refuse(Refusal(.holdExpired, retryAfter: .seconds(4))))
        #expect(admission.nextDeadline == Self.at(14))
    }

    @Test mutating func theLongestHoldCapsASetting() {
        _ = hold(seconds: 3600)
        #expect(ask(1, at: 0) == nil)
        #expect(admission.nextDeadline == Self.at(30))
    }

    @Test mutating func nothingIsHeldWithALimitOfNone() {
        _ = hold(0)
        #expect(ask(1) == .refuse(Refusal(.holdFull, retryAfter: .seconds(4))))
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
        #expect(ask(2) == .refuse(Refusal(.readOnly, retryAfter: .seconds(1))))
    }

    @Test mutating func aCompletionOfAHeldRequestTakesItOutOfTheQueue() {
        _ = hold()
        #expect(ask(1) == nil)
        let ticket = complete(1)
        #expect(ticket == Self.ticket(1))
        let replies = admission.set(.open, at: Self.at(1))
        #expect(replies.isEmpty)
        #expect(admission.counts.writesInFlight == 0)
    }

    @Test mutating func moreThanIsTrackedAreUnknownAndPushNoneOut() {
        for number in 1...5 { #expect(ask(number, at: Int64(number)) == .admit) }
        #expect(admission.counts.writesInFlight == nil)
        #expect(admission.totals.unknown == 2)
        #expect(admission.counts.oldestInFlight == Self.at(1))
        for number in 4...5 { _ = complete(number) }
        #expect(admission.totals.completed == 0)
        _ = admission.expire(at: Self.at(605))
        #expect(admission.counts.oldestInFlight == nil)
        #expect(admission.totals.unknown == 5)
        #expect(admission.counts.writesInFlight == nil)
        _ = admission.expire(at: Self.at(1205))
        #expect(admission.counts.writesInFlight == 0)
    }

    @Test mutating func aWriteWithoutAnIdentifierIsUnknownAndNotNone() {
        let asked = Asked(ticket: Self.ticket(1), kind: .write, request: nil)
        #expect(admission.ask(asked, at: Self.at(0)) == .admit)
        #expect(admission.counts.writesInFlight == nil)
        #expect(!admission.counts.isDrained)
    }

    @Test mutating func onlyTheProcessThatAskedIsBelieved() {
        let asked = Asked(
            ticket: Self.ticket(1), kind: .write, request: Self.request(1), process: 7)
        #expect(admission.ask(asked, at: Self.at(0)) == .admit)
        _ = complete(1, by: 8)
        #expect(admission.counts.writesInFlight == 1)
        #expect(admission.totals.foreignCompletions == 1)
        _ = complete(1, by: 7)
        #expect(admission.counts.writesInFlight == 0)
    }

    @Test mutating func aStreamIsAdmittedLikeAWriteAndNeverCountedAsOne() {
        #expect(ask(1, .stream) == .admit)
        #expect(admission.counts.writesInFlight == 0)
        #expect(admission.counts.streamsOpen == 1)
        _ = hold()
        #expect(admission.counts.isDrained)
        #expect(ask(2, .stream) == nil)
        _ = complete(1)
        #expect(admission.counts.streamsOpen == 0)
        _ = admission.set(
            GateSetting(writes: .refuse(retryAfter: .seconds(1), message: "")), at: Self.at(1))
        #expect(ask(3, .stream) == .refuse(Refusal(.readOnly, retryAfter: .seconds(1))))
    }

    @Test mutating func aCallIsInFlightUntilItHasLastedLikeAStream() {
        #expect(ask(1, .call) == .admit)
        #expect(admission.counts.writesInFlight == 1)
        #expect(admission.nextDeadline == Self.at(5))
        _ = admission.expire(at: Self.at(5))
        #expect(admission.counts.writesInFlight == 0)
        #expect(admission.counts.streamsOpen == 1)
    }

    @Test mutating func readsWithASessionAreHeldApart() {
        let limits = HoldLimits(atMost: 10, duration: .seconds(10), retryAfter: .seconds(4))
        _ = admission.set(
            GateSetting(writes: .hold(limits), sessionReadHold: limits), at: Self.at(0))
        #expect(ask(1, .read) == .admit)
        #expect(ask(2, .sessionRead) == nil)
        #expect(admission.counts.readsHeld == 1)
        let replies = admission.set(GateSetting(writes: .hold(limits)), at: Self.at(1))
        #expect(replies.map(\.ticket.number) == [2])
    }

    @Test mutating func theHeldGoThroughAFewAtFirstAndThenAsTheyComeBack() {
        admission = Admission(.open, configuration: GateConfiguration(trackedAtMost: 1000))
        _ = hold(1000)
        for number in 1...100 { #expect(ask(number) == nil) }
        var replies = admission.set(.open, at: Self.at(1))
        #expect(replies.map(\.ticket.number) == [1, 2, 3, 4])
        // Who comes now stands behind those who wait.
        #expect(ask(101, at: 1) == nil)
        _ = complete(1, at: 1)
        replies = admission.proceed(at: Self.at(1))
        #expect(replies.map(\.ticket.number) == [5, 6])
        for number in 2...100 {
            _ = complete(number, at: 1)
            replies = admission.proceed(at: Self.at(1))
        }
        #expect(admission.counts.writesHeld == 0)
        #expect(ask(102, at: 1) == .admit)
    }

    @Test mutating func noPromiseIsBrokenWhenCompletionsAreNotReported() {
        admission = Admission(.open, configuration: GateConfiguration(trackedAtMost: 1000))
        _ = hold(1000, seconds: 60)
        for number in 1...9 { #expect(ask(number) == nil) }
        var released = admission.set(.open, at: Self.at(1)).count
        for second in 2...3 {
            _ = admission.expire(at: Self.at(Int64(second)))
            released += admission.proceed(at: Self.at(Int64(second))).count
        }
        #expect(released == 9)
    }

    @Test func aPlaceIsNotKeptForAClientThatIsSlowToClose() throws {
        var pace = ReleasePace(first: 1, atMost: 1000)
        let request = try #require(RequestIdentifier("r1"))
        pace.admit(Self.ticket(1), request, at: Self.at(0))
        #expect(!pace.hasRoom)
        #expect(pace.nextDeadline == Instant(milliseconds: 250))
        pace.expire(at: Instant(milliseconds: 250))
        #expect(pace.hasRoom)
        // Its end counts all the same, with what the application took.
        pace.end(request, took: .milliseconds(3), hasFailed: false, at: Self.at(5))
        #expect(pace.window == 2)
    }

    @Test func anApplicationThatStandsStillIsNotTakenForClientsThatAreSlow() throws {
        var pace = ReleasePace(first: 8, atMost: 1000)
        func request(_ number: Int) throws -> RequestIdentifier {
            try #require(RequestIdentifier("r\(number)"))
        }
        var released = 0
        for second in 0..<10 {
            pace.expire(at: Self.at(Int64(second)))
            while pace.hasRoom {
                pace.admit(
                    Self.ticket(UInt64(released)), try request(released), at: Self.at(Int64(second))
                )
                released += 1
            }
        }
        // A queue of 100 has room for them.
        #expect(released == ReleasePace.careful)
        // One that closes late, long after it has been answered, shows what it was.
        pace.end(try request(0), took: .milliseconds(3), hasFailed: false, at: Self.at(10))
        #expect(pace.hasRoom)
    }

    @Test func thePaceGrowsWithTheApplicationAndHalvesWhenItFails() {
        var pace = ReleasePace(first: 4, atMost: 1000)
        func end(_ number: Int, hasFailed: Bool = false, after milliseconds: Int64 = 10) {
            guard let request = RequestIdentifier("r\(number)") else { return }
            pace.admit(Ticket(number: UInt64(number)), request, at: Self.at(0))
            pace.end(request, hasFailed: hasFailed, at: Instant(milliseconds: milliseconds))
        }
        // Whatever they take: any application has a queue for so few.
        for number in 0..<28 { end(number, after: number < 16 ? 10 : 500) }
        #expect(pace.window == 32)
        for number in 28..<60 { end(number, after: 500) }
        #expect(pace.window == 33)
        for number in 60..<91 { end(number) }
        #expect(pace.window == 64)
        for number in 91..<300 { end(number, after: 500) }
        #expect(pace.window == 64)
        for number in 300..<364 { end(number) }
        #expect(pace.window == 65)
        end(400, hasFailed: true)
        #expect(pace.window == 32)
        end(401, hasFailed: true)
        #expect(pace.window == 32)
        for number in 402..<450 { end(number) }
        #expect(pace.window == 33)
    }

    @Test(arguments: [Int64.max, .min, -1, 0])
    func noNumberOfADirectiveTraps(number: Int64) {
        let limits = HoldLimits(
            atMost: Int(number), duration: Span(milliseconds: number),
            retryAfter: Span(milliseconds: number))
        for writes in [
            WriteAdmission.hold(limits),
            .refuse(retryAfter: Span(milliseconds: number), message: ""),
        ] {
            let setting = GateSetting(writes: writes, readHold: limits, sessionReadHold: limits)
            var admission = Admission(setting.bounded, configuration: GateConfiguration())
            for kind in [RequestKind.write, .read, .sessionRead] {
                let asked = Asked(ticket: Self.ticket(1), kind: kind, request: Self.request(1))
                if case .refuse(let refusal) = admission.ask(asked, at: Self.at(1)) {
                    #expect(!refusal.response(in: .json, keepAlive: true).isEmpty)
                }
            }
            _ = admission.nextDeadline
            _ = admission.expire(at: Self.at(2))
            #expect(ModeFile.decode(ModeFile(setting.bounded).encoded)?.setting == setting.bounded)
        }
        #expect(Refusal(.readOnly, retryAfter: Span(milliseconds: number)).retryAfterSeconds >= 1)
    }

    @Test mutating func anAnswerThatCouldNotBeDeliveredIsNotInFlight() throws {
        #expect(ask(1) == .admit)
        admission.undeliverable(try #require(Self.request(1)))
        #expect(admission.counts.writesInFlight == 0)
    }

    @Test func aQueueKeepsItsOrderThroughAnythingThatLeavesIt() {
        var queue = KeyedQueue<Int, Int>()
        var expected: [Int] = []
        var seed: UInt64 = 7
        for turn in 0..<5000 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let choice = Int(seed >> 33)
            if choice % 3 != 0 || expected.isEmpty {
                queue.append(turn, turn)
                expected.append(turn)
            } else {
                let gone = expected.remove(at: choice % expected.count)
                #expect(queue.remove(gone) == gone)
            }
            guard queue.count == expected.count, queue.first?.key == expected.first else {
                Issue.record("differs at turn \(turn)")
                return
            }
        }
        #expect(queue.inOrder.map(\.key) == expected)
    }

    @Test func aPlannedPaceLetsNoMoreGoInASecondHoweverFastTheyComeBack() {
        var gate = Self(admission: Admission(.hold(1000), configuration: GateConfiguration()))
        gate.admission.setPace(10)
        for number in 1...40 { _ = gate.ask(number) }
        var released = gate.admission.set(.open, at: Self.at(100)).count
        var now = Self.at(100)
        #expect(released == 1, "the first at once")
        while released < 40 {
            guard let next = gate.admission.nextDeadline else { break }
            #expect(next > now, "it never spins")
            now = max(next, now + .milliseconds(1))
            _ = gate.admission.expire(at: now)
            let more = gate.admission.proceed(at: now)
            released += more.count
            for number in 1...released { _ = gate.complete(number, at: 100) }
        }
        #expect(released == 40)
        #expect((now - Self.at(100)).milliseconds >= 3900)
    }
}
