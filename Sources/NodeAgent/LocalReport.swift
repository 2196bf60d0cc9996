// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What a person on the node is told by `sluice-agent status`.
struct LocalReport: Codable, Sendable {
    var node: NodeName?
    var coordinator: String
    var now: Instant
    /// When the coordinator last answered this agent; `nil`: not since it was started.
    var lastAnswer: Instant?
    /// Why the coordinator does not answer, while it does not.
    var trouble: String?
    var run: RunIdentifier?
    var status: NodeStatus
    /// Those that hold now.
    var alarms: [String]

    /// The lines for a terminal.
    var text: String {
        var lines: [(String, String)] = []
        lines.append(("node", node?.rawValue ?? "(named by its token)"))
        let contact = lastAnswer.map { "answered \(now - $0) ago" } ?? "has not answered yet"
        lines.append(("coordinator", "\(coordinator), \(contact)"))
        if let trouble { lines.append(("", trouble)) }
        lines.append(("run", run?.rawValue ?? "none"))
        let gate = status.gate
        let inFlight = gate.writesInFlight.map { "\($0)" } ?? "unknown"
        var writes = "\(gate.writes.rawValue), \(inFlight) in flight"
        if gate.writes != .open {
            writes += ", \(gate.writesWaiting) waiting, \(gate.writesRefused) refused"
            if let waited = gate.writesWaited { writes += ", \(waited) held so far" }
        }
        lines.append(("writes", writes))
        gate.times(at: now).map { lines.append(("", $0)) }
        if let proof = gate.proof { lines.append(("proxy", proof.phrase)) }
        if let unasked = gate.unasked, unasked > 0 {
            let what = unasked == 1 ? "1 write has" : "\(unasked) writes have"
            lines.append(
                (
                    "PAST THE GATE",
                    "\(what) reached the application without the gate being asked; see docs/gate.md"
                ))
        }
        let reads = "held, \(gate.readsWaiting) waiting, \(gate.readsRefused) refused"
        lines.append(("reads", gate.readsHeld ? reads : "pass"))
        if gate.sessionsHeld == true {
            let waited = gate.sessionReadsWaited ?? 0
            lines.append(
                (
                    "sessions",
                    "reads with \(gate.sessionMarks ?? "a session") held, \(waited) so far"
                ))
        }
        if let reason = status.breakGlass { lines.append(("BREAK GLASS", reason)) }
        lines.append(
            (
                "release",
                status.active.map {
                    "\($0.release.title), generation \($0.cacheGeneration.rawValue)"
                } ?? "none"
            ))
        lines.append(("staged", LocalReport.names(status.staged)))
        lines.append(("service", status.service.rawValue))
        if let silence = status.silenced, let release = silence.release {
            lines.append(("silenced", "\(release.title): \(silence.phrase)"))
            if let late = silence.late {
                lines.append(
                    ("RAN LATE", "\(late.description); ended; stop what starts \(release.name)"))
            }
        }
        for task in status.tasks {
            lines.append(("task", "\(task.identity): \(task.state.rawValue)"))
        }
        if let health = status.health {
            lines.append(("health", "\(health.state.rawValue): \(health.detail)"))
        }
        for failure in status.failures {
            lines.append(("failure", "\(failure.goal.rawValue): \(failure.message)"))
        }
        for alarm in alarms { lines.append(("ALARM", alarm)) }
        // Much of it quotes the coordinator, actions and applications.
        return lines.map { name, value in
            name + String(repeating: " ", count: max(1, 13 - name.count)) + printable(value)
        }.joined(separator: "\n")
    }
}

extension LocalReport {
    /// With the beginning of their digests where two have one name.
    private static func names(_ releases: [ReleaseReference]) -> String {
        releases.map { release in
            let isAlone = releases.allSatisfy {
                $0.name != release.name || $0.isSameApplication(as: release)
            }
            return isAlone ? release.title : "\(release.title) (\(release.manifest.short))"
        }.joined(separator: ", ")
    }
}

/// What a person on the node asks of its agent.
struct LocalRequest: Codable, Sendable {
    enum Verb: String, Codable, Sendable {
        case status
        case openBreakGlass = "break-glass-open"
        case endBreakGlass = "break-glass-end"
    }

    var verb: Verb
    var reason: String?
}

extension GateObservation {
    /// Since when it is closed, or how the last time went; `nil`: it was never closed since the agent started.
    fileprivate func times(at now: Instant) -> String? {
        guard let closedAt else { return nil }
        guard let openedAt else { return "closed \((now - closedAt).rounded) ago" }
        let waits =
            writesReleased == 0
            ? "no write waited at its end"
            : "\(writesReleased) waited at its end and went through, the longest \(longestWait)"
        let opened = (now - openedAt).rounded
        return "was closed for \(openedAt - closedAt), until \(opened) ago: \(waits)"
    }
}

extension Span {
    /// Whole seconds, minutes or hours: how long ago something was, for people.
    fileprivate var rounded: Span {
        let unit: Int64 =
            milliseconds < 120_000 ? 1000 : milliseconds < 7_200_000 ? 60_000 : 3_600_000
        return Span(milliseconds: milliseconds / unit * unit)
    }
}

extension GateProof {
    /// For people on the node.
    fileprivate var phrase: String {
        switch state {
        case .waiting: detail.isEmpty ? "a write of the agent's own is under way" : detail
        case .proved:
            "asks the gate, as a write of the agent's own says"
                + (detail.isEmpty ? "" : "; not tried: \(detail)")
        case .failed: detail
        case .untried: "not tried: \(detail)"
        }
    }
}

extension Silence {
    /// For people on the node.
    fileprivate var phrase: String {
        switch state {
        case .idle: "nothing asked"
        case .waiting: "under way"
        case .silent: "no process of it runs, \(frozen) frozen, \(cut) requests cut"
        case .failed(let message): message
        }
    }
}
