// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension NodeEngine {
    func observe() -> NodeStatus {
        let directive = memory.directive
        var gate = gate
        gate.proof = proof
        return NodeStatus(
            epoch: directive?.epoch ?? .zero, revision: directive?.revision ?? 0,
            boot: identity.boot,
            sequence: 0, agentVersion: identity.version, gate: gate,
            lease: directive?.lease.onExpiry ?? .open, staged: host.staged, staging: nil,
            active: host.current.map {
                ActiveRelease(
                    release: $0.release, identity: activeIdentity, cacheGeneration: $0.generation)
            },
            service: service,
            tasks: directive.map(observeTasks) ?? [],
            health: observeHealth(),
            failures: failures.values.sorted { $0.goal.rawValue < $1.goal.rawValue },
            diskFree: host.diskFree, breakGlass: memory.brokenGlass, startedAt: startedAt,
            silenced: observeSilence(), abilities: identity.abilities.map(\.rawValue),
            pass: memory.directive?.pass == passAsked ? pass : nil,
            vacated: observeVacancy(),
            addresses: identity.addresses.isEmpty ? nil : identity.addresses)
    }

    private func observeTasks(_ directive: Directive) -> [TaskOutcome] {
        directive.tasks.compactMap { memory.tasks[$0.identity] ?? flushed($0, directive) }
    }

    /// What the directive's check has said; without one, whether the application can be reached at all.
    private func observeHealth() -> HealthObservation? {
        guard let health else {
            return applicationTrouble.map {
                HealthObservation(
                    identity: NodeEngine.applicationIdentity, state: .checking, detail: $0)
            }
        }
        return HealthObservation(
            identity: health.goal.identity, state: health.isHealthy ? .healthy : .checking,
            detail: health.detail)
    }

    /// Stands in a status for the check that nobody asked for; no directive's task is called so.
    private static let applicationIdentity = TaskIdentity(rawValue: "application")

    /// Whether the last status said that the gate is open to writes. Whoever waits for that word gets it before this node's processors have
    /// anything else to do.
    var hasSaidOpen: Bool { lastReport.map { $0.gate.writes == .open } ?? true }

    /// Whether a status would say now what another one says better in a moment.
    func isGathering(at now: Instant) -> Bool {
        guard let acceptedAt, now < acceptedAt + NodeEngine.gatheringInterval else { return false }
        let isAtWork = works.contains { if case .silence = $0 { false } else { true } }
        let isBeingProved = proofGoal?.isClosed == true && proof?.state == .waiting
        return isAtWork || isBeingProved || isBeingVacated
            || (gate.readsHeld && !gate.readsSettled)
            || (gate.sessionsHeld == true && gate.sessionsSettled != true)
    }

    func isReportDue(at now: Instant) -> Bool {
        guard let lastReport else { return true }
        return now >= nextReportAt || !observe().saysTheSame(as: lastReport)
    }

    /// When a status is due though a coordinator would conclude nothing new from it.
    var nextReportAt: Instant {
        var pause = NodeEngine.heartbeat
        if let directive = memory.directive, gateWanted != .open {
            pause = min(pause, Span(milliseconds: directive.lease.duration.milliseconds / 3))
        }
        let isBusy = !gate.isIdle || !(lastReport?.gate.isIdle ?? true)
        var comparable = gate
        comparable.proof = proof
        if isBusy, comparable != lastReport?.gate { pause = min(pause, NodeEngine.counterInterval) }
        // Why a check does not pass is what a person is told when its deadline is over.
        if let answer = observeHealth(), answer.state != .healthy,
            answer.detail != lastReport?.health?.detail
        {
            pause = min(pause, NodeEngine.counterInterval)
        }
        return lastReportAt + pause
    }

    func nextWake(at now: Instant) -> Instant? {
        var wakes: [Instant] = []
        if !isReportAsked { wakes.append(nextReportAt) }
        if !isReportAsked, isGathering(at: now), let acceptedAt {
            wakes.append(acceptedAt + NodeEngine.gatheringInterval)
        }
        if let effectsRetryAt { wakes.append(effectsRetryAt) }
        if let directive = memory.directive, !hasLeaseExpired, gateWanted != .open {
            wakes.append(lastContact + directive.lease.duration)
        }
        if works.isEmpty {
            if let nextSilenceLook { wakes.append(nextSilenceLook) }
            if let retryAt, retryAt > now { wakes.append(retryAt) }
        }
        // A freeze that is under way keeps no question waiting.
        if works.count < 2, let health, !health.isHealthy, health.nextAt > now {
            wakes.append(health.nextAt)
        }
        return wakes.min()
    }
}

extension GateObservation {
    /// Open, and nobody waits: what comes and goes then is nobody's concern.
    fileprivate var isIdle: Bool {
        writes == .open && !readsHeld && sessionsHeld != true && writesWaiting == 0
            && readsWaiting == 0
    }
}

extension NodeStatus {
    /// Whether a coordinator would conclude the same; numbers that only inform do not count.
    fileprivate func saysTheSame(as other: NodeStatus) -> Bool {
        var mine = self
        mine.sequence = other.sequence
        mine.diskFree = other.diskFree
        mine.staging = other.staging
        mine.health?.detail = other.health?.detail ?? ""
        if let now = vacated, let before = other.vacated, now.release == before.release,
            now.isVacant == before.isVacant
        {
            mine.vacated = before
        }
        let isDrained = gate.writesInFlight == 0
        let wasDrained = other.gate.writesInFlight == 0
        mine.gate = other.gate
        return mine == other && gate.writes == other.gate.writes
            && gate.readsHeld == other.gate.readsHeld
            && gate.readsSettled == other.gate.readsSettled
            && gate.sessionsHeld == other.gate.sessionsHeld
            && gate.sessionsSettled == other.gate.sessionsSettled
            && gate.sessionMarks == other.gate.sessionMarks && gate.proof == other.gate.proof
            && isDrained == wasDrained
    }
}
