// SPDX-License-Identifier: Apache-2.0

import Metrics
import Synchronization

/// The meters of answered requests, one a route and status, made when they are first needed.
///
/// A meter's name and labels are texts that are put together and looked at letter by letter: for each of the requests of ten thousand
/// nodes that costs more than to read what they say.
final class RequestMeters: Sendable {
    private struct Answered: Hashable {
        var route: String
        var status: Int
    }

    private let counters = Mutex<[Answered: Counter]>([:])
    private let timers = Mutex<[String: Metrics.Timer]>([:])

    /// Counts an answer.
    func count(route: String, status: Int) {
        counters.withLock { counters in
            let answered = Answered(route: route, status: status)
            if let known = counters[answered] { return known }
            let counter = Counter(
                label: "sluice_http_requests_total",
                dimensions: [("route", route), ("status", "\(status)")])
            counters[answered] = counter
            return counter
        }.increment()
    }

    /// Notes how long an answer took.
    func time(route: String, _ duration: Duration) {
        let parts = duration.components
        timers.withLock { timers in
            if let known = timers[route] { return known }
            let timer = Metrics.Timer(
                label: "sluice_http_seconds", dimensions: [("route", route)])
            timers[route] = timer
            return timer
        }.recordNanoseconds(parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000)
    }
}
