// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// One question of the proxy that has not been answered yet: a connection and its turn.
struct Ticket: Hashable, Sendable {
    var number: UInt64
}

/// A request as the gate sees it.
struct Asked: Sendable {
    var ticket: Ticket
    var kind: RequestKind
    /// `nil` when the proxy does not report the request's end.
    var request: RequestIdentifier?
    /// The process of the proxy that asks, as the kernel says; 0 when it does not.
    var process: Int32 = 0
}

/// What the proxy is told.
enum Answer: Hashable, Sendable {
    case admit
    case refuse(Refusal)
}

/// Who is admitted, who waits, who is under way: a value, without a clock and without a socket.
///
/// Instants are read from the boot clock; only their differences mean something here.
struct Admission {
    typealias Reply = (ticket: Ticket, answer: Answer)

    private(set) var setting: GateSetting
    private var collected = GateTotals()
    private var lanes = Lanes()
    private var tickets: [RequestIdentifier: Ticket] = [:]
    private var inFlight: InFlight
    private var pace: ReleasePace
    private var plannedPace: Int?
    private let configuration: GateConfiguration

    struct Held {
        var arrival: Instant
        var asked: Asked
    }

    init(_ setting: GateSetting, configuration: GateConfiguration) {
        self.setting = setting
        self.configuration = configuration
        inFlight = InFlight(configuration)
        pace = ReleasePace(
            first: configuration.releasedFirst, atMost: configuration.releasedAtMost)
    }

    /// A request has come.
    ///
    /// - Returns: the answer, or `nil` when the request is held.
    mutating func ask(_ asked: Asked, at now: Instant) -> Answer? {
        if asked.kind.isWrite, let request = asked.request, inFlight.contains(request) {
            // Asked again after an internal redirect or a retry of the proxy: it has been admitted and is counted.
            return .admit
        }
        let lane = lane(of: asked.kind)
        if lane == .writes, case .refuse(let retryAfter, let message) = setting.writes {
            collected.writesRefused.closed += 1
            return .refuse(Refusal(.readOnly, retryAfter: retryAfter, message: message))
        }
        if let hold = hold(on: lane) {
            guard lanes[lane].count < hold.atMost else {
                collected[refused: lane].overflowed += 1
                return .refuse(refusal(.holdFull, hold, on: lane))
            }
            join(lane, asked, at: now)
            return nil
        }
        if !lanes[lane].isEmpty {
            // Those who waited go first, at their pace.
            join(lane, asked, at: now)
            return nil
        }
        admit(asked, at: now)
        return .admit
    }

    /// The setting changes; those who waited for it are answered in the order of their arrival, as fast as the application
    /// takes them: the first now, the others by ``proceed(at:)``.
    mutating func set(_ new: GateSetting, at now: Instant) -> [Reply] {
        if setting != new { pace = newPace }
        setting = new
        var replies: [Reply] = []
        if case .refuse(let retryAfter, let message) = new.writes {
            let refusal = Refusal(.readOnly, retryAfter: retryAfter, message: message)
            replies += lanes.writes.inOrder.map { ($0.key, .refuse(refusal)) }
            collected.writesRefused.closed += lanes.writes.count
            for (ticket, held) in lanes.writes.inOrder { forget(held.asked.request, ticket) }
            lanes.writes.removeAll()
        }
        for lane in Lane.allCases {
            if let hold = hold(on: lane) { replies += trim(lane, to: hold) }
        }
        return replies + expire(at: now) + proceed(at: now)
    }

    /// How many of those who have waited are let go in a second at most; `nil`: as many as the application takes.
    mutating func setPace(_ perSecond: Int?) {
        guard perSecond != plannedPace else { return }
        plannedPace = perSecond
        pace = newPace
    }

    private var newPace: ReleasePace {
        ReleasePace(
            first: configuration.releasedFirst, atMost: configuration.releasedAtMost,
            perSecond: plannedPace)
    }

    private func mayProceed(at now: Instant) -> Bool {
        pace.hasRoom && (pace.nextTurn.map { $0 <= now } ?? true)
    }

    /// Lets go of those who need not wait any more, as many as the pace allows.
    mutating func proceed(at now: Instant) -> [Reply] {
        var replies: [Reply] = []
        for lane in Lane.allCases where isReleasing(lane) {
            while let (ticket, held) = lanes[lane].first,
                mayProceed(at: now) || held.arrival + configuration.longestHold <= now
            {
                lanes[lane].remove(ticket)
                forget(held.asked.request, ticket)
                admit(held.asked, at: now)
                pace.admit(ticket, held.asked.request, at: now)
                replies.append((ticket, .admit))
            }
        }
        return replies
    }

    /// The client of a held request went away before it was answered.
    mutating func withdraw(_ ticket: Ticket) {
        for lane in Lane.allCases {
            guard let held = lanes[lane].remove(ticket) else { continue }
            collected.abandoned += 1
            forget(held.asked.request, ticket)
        }
    }

    /// The answer to an admitted request could not be delivered: the proxy gave up first, so nothing is under way.
    mutating func undeliverable(_ request: RequestIdentifier) {
        inFlight.remove(request)
        pace.remove(request)
    }

    /// The proxy has finished with a request, admitted or not.
    ///
    /// - Returns: the ticket, when the request was still held; its answer has nobody to go to.
    mutating func complete(_ record: CompletionRecord, by process: Int32, at now: Instant)
        -> Ticket?
    {
        guard let request = record.completed else { return nil }
        if record.hasPassedUnasked { collected.unasked += 1 }
        switch inFlight.complete(request, by: process, at: now) {
        case .ended:
            collected.completed += 1
            pace.end(request, took: record.took, hasFailed: record.hasFailed, at: now)
        case .foreign: collected.foreignCompletions += 1
        case .absent:
            guard let ticket = tickets[request] else {
                // A read that waited, or nobody's.
                pace.end(request, took: record.took, hasFailed: record.hasFailed, at: now)
                return nil
            }
            let held = lanes.reads[ticket] ?? lanes.sessions[ticket] ?? lanes.writes[ticket]
            guard held?.asked.process == process else {
                collected.foreignCompletions += 1
                return nil
            }
            withdraw(ticket)
            return ticket
        }
        return nil
    }

    /// Time has passed: who has waited too long is refused, who is under way for too long is unknown.
    mutating func expire(at now: Instant) -> [Reply] {
        inFlight.expire(at: now)
        pace.expire(at: now)
        var replies: [Reply] = []
        for lane in Lane.allCases {
            guard let hold = hold(on: lane) else { continue }
            let span = span(of: hold)
            while let (ticket, held) = lanes[lane].first, held.arrival + span <= now {
                lanes[lane].remove(ticket)
                forget(held.asked.request, ticket)
                collected[refused: lane].expired += 1
                replies.append(
                    (ticket, .refuse(refusal(.holdExpired, hold, on: lane))))
            }
        }
        return replies
    }

    /// When ``expire(at:)`` or ``proceed(at:)`` has something to do next.
    var nextDeadline: Instant? {
        var deadlines = [inFlight.nextDeadline, pace.nextDeadline]
        let hasGoing = Lane.allCases.contains { isReleasing($0) && !lanes[$0].isEmpty }
        if hasGoing, pace.hasRoom { deadlines.append(pace.nextTurn) }
        for lane in Lane.allCases {
            guard let first = lanes[lane].first else { continue }
            let longest = hold(on: lane).map { span(of: $0) } ?? configuration.longestHold
            deadlines.append(first.value.arrival + longest)
        }
        return deadlines.compactMap { $0 }.min()
    }
}

extension Admission {
    /// The queues.
    private struct Lanes {
        var writes = KeyedQueue<Ticket, Held>()
        var reads = KeyedQueue<Ticket, Held>()
        var sessions = KeyedQueue<Ticket, Held>()

        subscript(lane: Lane) -> KeyedQueue<Ticket, Held> {
            get {
                switch lane {
                case .reads: reads
                case .sessions: sessions
                case .writes: writes
                }
            }
            _modify {
                // Yielding in place keeps the queue from being copied at each change.
                switch lane {
                case .reads: yield &reads
                case .sessions: yield &sessions
                case .writes: yield &writes
                }
            }
        }
    }

    private func lane(of kind: RequestKind) -> Lane {
        if kind.isWrite { return .writes }
        return kind == .sessionRead ? .sessions : .reads
    }

    private func hold(on lane: Lane) -> HoldLimits? {
        switch lane {
        case .reads: return setting.readHold
        // Plain reads that are held as well wait for the same.
        case .sessions: return setting.sessionReadHold ?? setting.readHold
        case .writes:
            if case .hold(let hold) = setting.writes { return hold }
            return nil
        }
    }

    private func isReleasing(_ lane: Lane) -> Bool {
        if lane == .writes, !setting.writes.isOpen { return false }
        return hold(on: lane) == nil
    }

    private func span(of hold: HoldLimits) -> Span { min(hold.duration, configuration.longestHold) }

    private mutating func admit(_ asked: Asked, at now: Instant) {
        if asked.kind.isWrite {
            collected.admitted += 1
        } else {
            collected.readsAdmitted += 1
        }
        inFlight.admit(asked.kind, asked.request, by: asked.process, at: now)
    }

    private mutating func join(_ lane: Lane, _ asked: Asked, at now: Instant) {
        lanes[lane].append(asked.ticket, Held(arrival: now, asked: asked))
        switch lane {
        case .writes: collected.writesWaited += 1
        case .reads: collected.readsWaited += 1
        case .sessions:
            collected.readsWaited += 1
            collected.sessionReadsWaited += 1
        }
        if let request = asked.request { tickets[request] = asked.ticket }
    }

    /// Refuses the newest of those beyond a limit that has been lowered.
    private mutating func trim(_ lane: Lane, to hold: HoldLimits) -> [Reply] {
        let beyond = lanes[lane].inOrder.dropFirst(max(0, hold.atMost))
        for (ticket, held) in beyond {
            lanes[lane].remove(ticket)
            forget(held.asked.request, ticket)
        }
        collected[refused: lane].overflowed += beyond.count
        return beyond.map {
            ($0.key, .refuse(refusal(.holdFull, hold, on: lane)))
        }
    }

    /// Of one that was held, or would have been.
    private func refusal(_ reason: Refusal.Reason, _ hold: HoldLimits, on lane: Lane) -> Refusal {
        Refusal(
            reason, retryAfter: hold.retryAfter,
            message: lane == .writes ? "" : Refusal.sentenceForReads)
    }

    private mutating func forget(_ request: RequestIdentifier?, _ ticket: Ticket) {
        guard let request, tickets[request] == ticket else { return }
        tickets[request] = nil
    }
}

extension Admission {
    var totals: GateTotals {
        var totals = collected
        totals.unknown = inFlight.unknown
        return totals
    }

    var counts: Counts {
        Counts(
            setting: setting, totals: totals, writesInFlight: inFlight.writeCount,
            streamsOpen: inFlight.streamCount, writesHeld: lanes.writes.count,
            readsHeld: lanes.reads.count + lanes.sessions.count,
            oldestHeld: Lane.allCases.compactMap { lanes[$0].first?.value.arrival }.min(),
            oldestInFlight: inFlight.oldest)
    }

    /// What a snapshot is made of, with instants where a snapshot has ages.
    struct Counts: Sendable {
        var setting: GateSetting
        var totals: GateTotals
        var writesInFlight: Int?
        var streamsOpen: Int
        var writesHeld: Int
        var readsHeld: Int
        var oldestHeld: Instant?
        var oldestInFlight: Instant?

        func snapshot(at now: Instant) -> GateSnapshot {
            GateSnapshot(
                setting: setting, writesInFlight: writesInFlight, streamsOpen: streamsOpen,
                writesHeld: writesHeld, readsHeld: readsHeld, totals: totals,
                oldestHeld: oldestHeld.map { now - $0 },
                oldestInFlight: oldestInFlight.map { now - $0 })
        }
    }
}

extension GateTotals {
    fileprivate subscript(refused lane: Lane) -> Refusals {
        get { lane == .writes ? writesRefused : readsRefused }
        set { if lane == .writes { writesRefused = newValue } else { readsRefused = newValue } }
    }
}
