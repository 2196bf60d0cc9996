// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// The requests that were admitted and whose end has not been reported.
struct InFlight {
    /// An admitted request: when, and which process of the proxy asked for it.
    struct Entry: Sendable {
        var admitted: Instant
        var process: Int32
    }

    private var writes = KeyedQueue<RequestIdentifier, Entry>()
    private var calls = KeyedQueue<RequestIdentifier, Entry>()
    private var streams = KeyedQueue<RequestIdentifier, Entry>()
    /// Until when a write may be under way whose end nobody reports.
    private var uncountedUntil: Instant?
    /// Writes that were given up: not tracked, or their end was not reported in time.
    private(set) var unknown = 0
    private let longest: Span
    private let trackedAtMost: Int

    /// A call that lasts longer is a stream.
    static let longestCall = Span.seconds(5)

    init(_ configuration: GateConfiguration) {
        longest = configuration.inFlightAtMost
        trackedAtMost = configuration.trackedAtMost
    }

    /// Writes under way; `nil` when there may be some that are not counted.
    var writeCount: Int? { uncountedUntil == nil ? writes.count + calls.count : nil }
    var streamCount: Int { streams.count }

    /// When the oldest write under way was admitted.
    var oldest: Instant? {
        [writes.first?.value.admitted, calls.first?.value.admitted].compactMap { $0 }.min()
    }

    func contains(_ request: RequestIdentifier) -> Bool {
        writes[request] != nil || calls[request] != nil || streams[request] != nil
    }

    /// - Parameter request: `nil` when the proxy does not report its end.
    mutating func admit(
        _ kind: RequestKind, _ request: RequestIdentifier?, by process: Int32, at now: Instant
    ) {
        guard kind.isWrite else { return }
        guard let request, writes.count + calls.count + streams.count < trackedAtMost else {
            // Forgetting an older one instead would let a flood of questions hide a write that is under way.
            if kind != .stream { noteUncounted(at: now) }
            return
        }
        let entry = Entry(admitted: now, process: process)
        switch kind {
        case .stream: streams.append(request, entry)
        case .call: calls.append(request, entry)
        default: writes.append(request, entry)
        }
    }

    /// The proxy never got the answer, so nothing is under way.
    mutating func remove(_ request: RequestIdentifier) {
        _ = writes.remove(request) ?? calls.remove(request) ?? streams.remove(request)
    }

    enum Completion { case ended(after: Span), foreign, absent }

    /// - Parameter process: who reports the end. Only the process that asked is believed.
    mutating func complete(
        _ request: RequestIdentifier, by process: Int32, at now: Instant
    ) -> Completion {
        guard let entry = writes[request] ?? calls[request] ?? streams[request] else {
            return .absent
        }
        guard entry.process == process else { return .foreign }
        remove(request)
        return .ended(after: now - entry.admitted)
    }

    mutating func expire(at now: Instant) {
        if let until = uncountedUntil, until <= now { uncountedUntil = nil }
        while let (request, entry) = calls.first, entry.admitted + Self.longestCall <= now {
            calls.remove(request)
            streams.append(request, entry)
        }
        while let (request, entry) = writes.first, entry.admitted + longest <= now {
            writes.remove(request)
            noteUncounted(at: now)
        }
    }

    var nextDeadline: Instant? {
        [
            uncountedUntil, calls.first.map { $0.value.admitted + Self.longestCall },
            writes.first.map { $0.value.admitted + longest },
        ].compactMap { $0 }.min()
    }

    private mutating func noteUncounted(at now: Instant) {
        unknown += 1
        uncountedUntil = now + longest
    }
}
