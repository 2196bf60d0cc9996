// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Whether a request may write. The proxy says so, or ``GateRoutes`` decides.
enum RequestKind: String, Sendable {
    case read, write
}

/// One question of the proxy that has not been answered yet: a connection and its turn.
struct Ticket: Hashable, Sendable {
    var number: UInt64
}

/// What the proxy is told.
enum Answer: Hashable, Sendable {
    case admit
    case refuse(Reason, retryAfter: Span, message: String)

    /// A stable word for programs, sent in `X-Sluice-Refused`.
    enum Reason: String, Sendable {
        case readOnly = "read-only"
        case holdFull = "hold-full"
        case holdExpired = "hold-expired"
    }
}

/// Who is admitted, who waits, who is under way: a value, without a clock and without a socket.
///
/// Instants are read from the boot clock; only their differences mean something here.
struct Admission {
    typealias Reply = (ticket: Ticket, answer: Answer)

    private(set) var setting: GateSetting
    private(set) var totals = GateTotals()
    private var writes = Line<Ticket, Held>()
    private var reads = Line<Ticket, Held>()
    private var tickets: [RequestIdentifier: Ticket] = [:]
    private var inFlight = Line<RequestIdentifier, Instant>()
    private let longestHold: Span
    private let inFlightAtMost: Span
    private let trackedAtMost: Int

    private struct Held {
        var arrival: Instant
        var request: RequestIdentifier?
    }

    init(_ setting: GateSetting, configuration: GateConfiguration) {
        self.setting = setting
        longestHold = configuration.longestHold
        inFlightAtMost = configuration.inFlightAtMost
        trackedAtMost = configuration.trackedAtMost
    }

    /// A request has come.
    ///
    /// - Returns: the answer, or `nil` when the request is held.
    mutating func ask(
        _ ticket: Ticket, _ kind: RequestKind, _ request: RequestIdentifier?, at now: Instant
    ) -> Answer? {
        if kind == .write, let request, inFlight[request] != nil {
            // Asked again after an internal redirect or a retry of the proxy: it has been admitted and is counted.
            return .admit
        }
        switch (kind, setting.writes, setting.readHold) {
        case (.write, .open, _), (.read, _, nil):
            return admit(kind, request, at: now)
        case (.write, .refuse(let retryAfter, let message), _):
            totals.writesRefused.closed += 1
            return .refuse(.readOnly, retryAfter: retryAfter, message: message)
        case (.write, .hold(let hold), _):
            return join(.write, hold, ticket, request, at: now)
        case (.read, _, let hold?):
            return join(.read, hold, ticket, request, at: now)
        }
    }

    /// The setting changes; those who waited for it are answered in the order of their arrival.
    mutating func set(_ new: GateSetting, at now: Instant) -> [Reply] {
        setting = new
        var replies: [Reply] = []
        if let hold = new.readHold {
            replies += trim(.read, to: hold)
        } else {
            replies += release(.read, at: now)
        }
        switch new.writes {
        case .open:
            replies += release(.write, at: now)
        case .hold(let hold):
            replies += trim(.write, to: hold)
        case .refuse(let retryAfter, let message):
            let answer = Answer.refuse(.readOnly, retryAfter: retryAfter, message: message)
            replies += writes.inOrder.map { ($0.key, answer) }
            totals.writesRefused.closed += writes.count
            clear(.write)
        }
        return replies + expire(at: now)
    }

    /// The client of a held request went away before it was answered.
    mutating func withdraw(_ ticket: Ticket) {
        guard let held = writes.remove(ticket) ?? reads.remove(ticket) else { return }
        totals.abandoned += 1
        forget(held.request, ticket)
    }

    /// The answer to an admitted write could not be delivered: the proxy gave up first, so nothing is under way.
    mutating func undeliverable(_ request: RequestIdentifier) {
        inFlight.remove(request)
    }

    /// The proxy has finished with a request, admitted or not.
    ///
    /// - Returns: the ticket, when the request was still held; its answer has nobody to go to.
    mutating func complete(_ request: RequestIdentifier) -> Ticket? {
        if inFlight.remove(request) != nil {
            totals.completed += 1
            return nil
        }
        guard let ticket = tickets[request] else { return nil }
        withdraw(ticket)
        return ticket
    }

    /// Time has passed: who has waited too long is refused, who is under way for too long is unknown.
    mutating func expire(at now: Instant) -> [Reply] {
        var replies: [Reply] = []
        for kind in [RequestKind.write, .read] {
            if let hold = hold(on: kind) { replies += expire(kind, hold, at: now) }
        }
        while let oldest = inFlight.first, oldest.value + inFlightAtMost <= now {
            inFlight.remove(oldest.key)
            totals.unknown += 1
        }
        return replies
    }

    /// When ``expire(at:)`` has something to do next.
    var nextDeadline: Instant? {
        var deadlines: [Instant] = []
        for kind in [RequestKind.write, .read] {
            guard let hold = hold(on: kind), let first = self[kind].first else { continue }
            deadlines.append(first.value.arrival + span(of: hold))
        }
        if let first = inFlight.first { deadlines.append(first.value + inFlightAtMost) }
        return deadlines.min()
    }

    var counts: Counts {
        Counts(
            setting: setting, totals: totals, writesInFlight: inFlight.count,
            writesHeld: writes.count,
            readsHeld: reads.count,
            oldestHeld: [writes.first?.value.arrival, reads.first?.value.arrival].compactMap { $0 }
                .min(),
            oldestInFlight: inFlight.first?.value)
    }

    /// What a snapshot is made of, with instants where a snapshot has ages.
    struct Counts: Sendable {
        var setting: GateSetting
        var totals: GateTotals
        var writesInFlight: Int
        var writesHeld: Int
        var readsHeld: Int
        var oldestHeld: Instant?
        var oldestInFlight: Instant?

        func snapshot(at now: Instant) -> GateSnapshot {
            GateSnapshot(
                setting: setting, writesInFlight: writesInFlight, writesHeld: writesHeld,
                readsHeld: readsHeld, totals: totals, oldestHeld: oldestHeld.map { now - $0 },
                oldestInFlight: oldestInFlight.map { now - $0 })
        }
    }
}

extension Admission {
    private subscript(kind: RequestKind) -> Line<Ticket, Held> {
        get { kind == .write ? writes : reads }
        _modify {
            // Yielding in place keeps the line from being copied at each change.
            if kind == .write { yield &writes } else { yield &reads }
        }
    }

    private func hold(on kind: RequestKind) -> HoldLimits? {
        if kind == .read { return setting.readHold }
        if case .hold(let hold) = setting.writes { return hold }
        return nil
    }

    private func span(of hold: HoldLimits) -> Span { min(hold.duration, longestHold) }

    private mutating func admit(
        _ kind: RequestKind, _ request: RequestIdentifier?, at now: Instant
    ) -> Answer {
        guard kind == .write else {
            totals.readsAdmitted += 1
            return .admit
        }
        totals.admitted += 1
        guard let request else { return .admit }
        inFlight.append(request, now)
        if inFlight.count > trackedAtMost, let oldest = inFlight.first {
            inFlight.remove(oldest.key)
            totals.unknown += 1
        }
        return .admit
    }

    private mutating func join(
        _ kind: RequestKind, _ hold: HoldLimits, _ ticket: Ticket, _ request: RequestIdentifier?,
        at now: Instant
    ) -> Answer? {
        guard self[kind].count < hold.atMost else {
            totals[refused: kind].overflowed += 1
            return .refuse(.holdFull, retryAfter: hold.retryAfter, message: "")
        }
        self[kind].append(ticket, Held(arrival: now, request: request))
        if let request { tickets[request] = ticket }
        return nil
    }

    private mutating func release(_ kind: RequestKind, at now: Instant) -> [Reply] {
        let waiting = self[kind].inOrder
        clear(kind)
        return waiting.map { ($0.key, admit(kind, $0.value.request, at: now)) }
    }

    /// Refuses the newest of those beyond a limit that has been lowered.
    private mutating func trim(_ kind: RequestKind, to hold: HoldLimits) -> [Reply] {
        let beyond = self[kind].inOrder.dropFirst(max(0, hold.atMost))
        for (ticket, held) in beyond {
            self[kind].remove(ticket)
            forget(held.request, ticket)
        }
        totals[refused: kind].overflowed += beyond.count
        return beyond.map { ($0.key, .refuse(.holdFull, retryAfter: hold.retryAfter, message: "")) }
    }

    private mutating func expire(_ kind: RequestKind, _ hold: HoldLimits, at now: Instant)
        -> [Reply]
    {
        var replies: [Reply] = []
        while let (ticket, held) = self[kind].first, held.arrival + span(of: hold) <= now {
            self[kind].remove(ticket)
            forget(held.request, ticket)
            totals[refused: kind].expired += 1
            replies.append(
                (ticket, .refuse(.holdExpired, retryAfter: hold.retryAfter, message: "")))
        }
        return replies
    }

    private mutating func clear(_ kind: RequestKind) {
        for (ticket, held) in self[kind].inOrder { forget(held.request, ticket) }
        self[kind].removeAll()
    }

    private mutating func forget(_ request: RequestIdentifier?, _ ticket: Ticket) {
        guard let request, tickets[request] == ticket else { return }
        tickets[request] = nil
    }
}

extension GateTotals {
    fileprivate subscript(refused kind: RequestKind) -> Refusals {
        get { kind == .write ? writesRefused : readsRefused }
        set { if kind == .write { writesRefused = newValue } else { readsRefused = newValue } }
    }
}
