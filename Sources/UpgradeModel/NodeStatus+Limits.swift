// SPDX-License-Identifier: Apache-2.0

extension NodeStatus {
    /// What exceeds the bounds of a status, or is impossible; `nil` when nothing does.
    ///
    /// A status comes from a stranger: it is kept in memory, added up and shown to operators, so that every part has a bound.
    public var limitProblem: String? {
        var check = BoundCheck()
        check.number("epoch", epoch.rawValue, Bounds.epoch)
        check.number("revision", revision, Bounds.ordinal)
        check.number("sequence", sequence, Bounds.ordinal)
        check.word("boot", boot)
        check.word("agentVersion", agentVersion)
        gate.check(&check)
        check.entries("staged releases", staged.count)
        check.number("staging.bytesDone", staging?.bytesDone, Bounds.bytes)
        check.number("staging.bytesTotal", staging?.bytesTotal, Bounds.bytes)
        check.number(
            "active.cacheGeneration", active?.cacheGeneration.rawValue, Bounds.ordinal)
        check.entries("tasks", tasks.count)
        for task in tasks {
            check.word("task", task.identity.rawValue)
            check.text("output", task.output)
            check.text("preview", task.preview, TaskOutcome.previewLimit)
            check.span("duration", task.duration)
        }
        check.word("health", health?.identity.rawValue)
        check.text("health", health?.detail)
        check.entries("failures", failures.count)
        for failure in failures { check.text("failure", failure.message) }
        check.number("diskFree", diskFree, Bounds.bytes)
        check.text("breakGlass", breakGlass)
        check.number("startedAt", startedAt?.milliseconds, Bounds.instant.milliseconds)
        check.number("silenced.frozen", silenced?.frozen, Bounds.requests)
        check.number("silenced.cut", silenced?.cut, Bounds.requests)
        check.text("silenced", silenced?.failure)
        check.number("silenced.late", silenced?.late?.count, Bounds.requests)
        check.entries("late processes", silenced?.late?.examples.count ?? 0)
        for example in silenced?.late?.examples ?? [] { check.text("silenced.late", example) }
        check.entries("connections", silenced?.connections?.count ?? 0)
        for connection in silenced?.connections ?? [] {
            check.word("silenced.connections", connection)
        }
        check.entries("abilities", abilities?.count ?? 0)
        for ability in abilities ?? [] { check.word("ability", ability) }
        check.word("pass.task", pass?.task.rawValue)
        check.text("pass.problem", pass?.problem)
        check.number("vacated.requests", vacated?.requests, Bounds.requests)
        check.number("vacated.streams", vacated?.streams, Bounds.requests)
        check.entries("addresses", addresses?.count ?? 0)
        for address in addresses ?? [] { check.word("addresses", address) }
        return check.problem
    }
}

extension GateObservation {
    fileprivate func check(_ check: inout BoundCheck) {
        let counts = [
            ("writesInFlight", writesInFlight ?? 0), ("writesWaiting", writesWaiting),
            ("readsWaiting", readsWaiting), ("writesRefused", writesRefused),
            ("readsRefused", readsRefused), ("writesReleased", writesReleased),
        ]
        for (name, count) in counts { check.number("gate.\(name)", count, Bounds.requests) }
        check.span("gate.longestWait", longestWait)
        check.text("gate.proof", proof?.detail)
        check.number("gate.workers", proof?.limits?.workers, Bounds.requests)
        check.number("gate.connections", proof?.limits?.connections, Bounds.requests)
        check.number("gate.streams", proof?.limits?.requestsOfConnection, Bounds.requests)
        check.number("gate.listeners", proof?.limits?.listeners, Bounds.requests)
        check.entries("limits of the proxy", proof?.limits?.shares.count ?? 0)
        for share in proof?.limits?.shares ?? [] {
            check.text("gate.shares", share.key, Bounds.word)
            check.text("gate.shares", share.position)
            check.number("gate.shares", share.atMost, Bounds.requests)
        }
        check.entries("bounds of the proxy", proof?.bounds?.count ?? 0)
        for bound in proof?.bounds ?? [] {
            check.text("gate.bounds", bound.name, Bounds.word)
            check.text("gate.bounds", bound.position)
            check.number("gate.bounds", bound.requests, Bounds.requests)
            check.number("gate.bounds", bound.listeners, Bounds.requests)
            check.number("gate.bounds", bound.passing, Bounds.requests)
            check.span("gate.bounds", bound.span)
        }
        check.number("gate.room", proof?.room?.requests, Bounds.requests)
        check.number("gate.room", proof?.room?.openFiles, Bounds.requests)
        check.number("gate.room", proof?.room?.longestQueue, Bounds.requests)
        check.span("gate.room", proof?.room?.longestHold)
        check.entries("listen queues", proof?.room?.queues.count ?? 0)
        for queue in proof?.room?.queues ?? [] {
            check.text("gate.queues", queue.place)
            check.number("gate.queues", queue.length, Bounds.requests)
        }
        check.number("gate.unasked", unasked, Bounds.requests)
        check.text("gate.sessionMarks", sessionMarks, Bounds.word)
        check.number("gate.writesWaited", writesWaited, Bounds.requests)
        check.number("gate.readsWaited", readsWaited, Bounds.requests)
        check.number("gate.sessionReadsWaited", sessionReadsWaited, Bounds.requests)
        check.number("gate.closedAt", closedAt?.milliseconds, Bounds.instant.milliseconds)
        check.number("gate.openedAt", openedAt?.milliseconds, Bounds.instant.milliseconds)
    }
}
