// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// How many of those who waited may be at the application at once.
///
/// A thousand held requests let go in one moment overflow an application's listen queue, of which 100 is a common length.
/// So they go through as in a congestion window: a few, then one more for each that comes back; beyond what any queue takes,
/// only as long as they come back as fast as at first; half as many when the application fails.
struct ReleasePace {
    /// How many may be under way.
    private(set) var window: Int
    private let atMost: Int
    /// A pace that somebody has planned: not more than so many in each second since the first, however fast the application is.
    private let perSecond: Int?
    private var first: Instant?
    private var admitted: Int64 = 0
    private var underWay = KeyedQueue<RequestIdentifier, Instant>()
    /// Those whose end nobody reports: each takes its place for a fixed time.
    private var uncounted = KeyedQueue<Ticket, Instant>()
    /// Those whose place has been given on and whose end has not been reported.
    private var late = KeyedQueue<RequestIdentifier, Instant>()
    /// The proxy has reported an end long after the application had answered.
    private var areClientsSlow = false
    private var reference = Reference()
    private var hasFailed = false
    /// Ended since the window last changed.
    private var ended = 0

    /// What a request whose end nobody reports is taken to last.
    static let uncountedTime = Span.milliseconds(100)
    /// A request has its place for so long as long as nobody knows how long they take. The proxy reports an end late when a
    /// client is slow to close, so a place is not kept until then: eight times what the application takes is enough.
    static let firstWait = Span.milliseconds(250)
    static let shortestWait = Span.milliseconds(50)
    /// An end that has not been reported by then will not be: nginx waits 5 s for a client to close.
    static let lost = Span.seconds(10)
    private static let lateAtMost = 16_384
    /// Any application has a queue for so many: the window grows by one for each that comes back.
    static let plain = 32
    /// Most have a queue for so many: the window grows, slowly when they come back later than at first. Beyond, it does not grow
    /// then.
    static let careful = HoldingRoom.releasedAtOnce

    init(first: Int, atMost: Int, perSecond: Int? = nil) {
        self.atMost = max(1, atMost)
        self.perSecond = perSecond.map { max(1, $0) }
        window = min(max(1, first), self.atMost)
    }

    var hasRoom: Bool {
        guard underWay.count + uncounted.count < window else { return false }
        // An application that stands still looks like clients that are slow to close, until the first of them has closed.
        return late.isEmpty || areClientsSlow || underWay.count + late.count < Self.careful
    }

    /// When the planned pace lets the next one go; `nil`: it waits for no time.
    var nextTurn: Instant? {
        guard let perSecond, let first else { return nil }
        return first + .milliseconds(admitted * 1000 / Int64(perSecond))
    }

    mutating func admit(_ ticket: Ticket, _ request: RequestIdentifier?, at now: Instant) {
        first = first ?? now
        admitted += 1
        if let request {
            underWay.append(request, now)
        } else {
            uncounted.append(ticket, now)
        }
    }

    /// - Parameters:
    ///   - took: how long the application took, when the proxy says so.
    ///   - hasFailed: the application did not take it, or said that it is at its end.
    mutating func end(
        _ request: RequestIdentifier, took: Span? = nil, hasFailed: Bool, at now: Instant
    ) {
        let isLate = late[request] != nil
        guard let admitted = underWay.remove(request) ?? late.remove(request) else { return }
        ended += 1
        if isLate, let took, took.milliseconds * 2 < (now - admitted).milliseconds {
            areClientsSlow = true
        }
        guard !hasFailed else { return shrink() }
        let duration = took ?? (now - admitted)
        reference.note(duration)
        guard window < atMost else { return }
        let isSlow = reference.isExceeded(by: duration)
        let isFast = !self.hasFailed && (window < Self.plain || (window < Self.careful && !isSlow))
        if isFast || (ended >= window && (window < Self.careful || !isSlow)) {
            window += 1
            ended = 0
        }
    }

    /// Those that were under way together fail together: one step down for all of them.
    private mutating func shrink() {
        guard !hasFailed || ended >= window else { return }
        hasFailed = true
        window = max(1, window / 2)
        ended = 0
    }

    mutating func remove(_ request: RequestIdentifier) {
        underWay.remove(request)
        late.remove(request)
    }

    mutating func expire(at now: Instant) {
        while let (ticket, admitted) = uncounted.first, admitted + Self.uncountedTime <= now {
            uncounted.remove(ticket)
        }
        while let (request, admitted) = late.first, admitted + Self.lost <= now {
            late.remove(request)
        }
        while let (request, admitted) = underWay.first, admitted + longestWait <= now {
            underWay.remove(request)
            if late.count < Self.lateAtMost { late.append(request, admitted) }
        }
    }

    var nextDeadline: Instant? {
        [
            uncounted.first.map { $0.value + Self.uncountedTime },
            underWay.first.map { $0.value + longestWait },
            late.first.map { $0.value + Self.lost },
        ].compactMap { $0 }.min()
    }

    private var longestWait: Span {
        guard let recent = reference.recent else { return Self.firstWait }
        return max(Self.shortestWait, Span(milliseconds: min(recent.milliseconds, 100_000) * 8))
    }
}

/// How long requests take when the application is at ease: the shortest average of eight in a row.
private struct Reference {
    private(set) var average: Span?
    /// The average of the last eight.
    private(set) var recent: Span?
    private var sum: Int64 = 0
    private var count: Int64 = 0

    mutating func note(_ duration: Span) {
        sum += duration.milliseconds
        count += 1
        guard count == 8 else { return }
        let mean = Span(milliseconds: sum / 8)
        recent = mean
        average = min(average ?? mean, mean)
        sum = 0
        count = 0
    }

    func isExceeded(by duration: Span) -> Bool {
        guard let average else { return false }
        return duration.milliseconds > average.milliseconds * 2 + 10
    }
}
