// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

extension NodeEngine {
    mutating func watchLease(at now: Instant, _ ready: inout NodeReady) {
        guard let directive = memory.directive, !hasLeaseExpired,
            now >= lastContact + directive.lease.duration, gateWanted != .open
        else { return }
        hasLeaseExpired = true
        if directive.lease.onExpiry == .open { record(.leaseExpired(at: now), &ready) }
    }

    /// The coordinator has been heard: the lease begins anew.
    mutating func renewLease(at now: Instant) {
        lastContact = now
        hasLeaseExpired = false
    }

    /// What the gate should do by the directive alone.
    var gateWanted: GateTarget {
        guard let directive = memory.directive else { return .open }
        return GateTarget(
            writes: directive.writes, reads: readsWanted(directive.reads),
            sessions: directive.sessions)
    }

    func readsWanted(_ reads: ReadAdmission) -> HoldLimits? {
        guard let until = reads.until else { return reads.hold }
        return readsLetGo == until && activeIdentity == until ? nil : reads.hold
    }

    /// Reads that wait for a flip go on when the release that came with it answers: its actions done, its health passed. From then
    /// on they are not held for it again, whatever is asked anew.
    mutating func letReadsGo() {
        guard let directive = memory.directive, let until = directive.reads.until,
            activeIdentity == until, readsLetGo != until,
            case .finished = nextTask(directive, .afterActivation), health?.isHealthy ?? true
        else { return }
        readsLetGo = until
    }

    /// An effect that failed is asked for again once its time has come.
    mutating func forgetEffects(at now: Instant) {
        guard let retry = effectsRetryAt, now >= retry else { return }
        effectsRetryAt = nil
        if failures[.gate] != nil { gateSent = nil }
        if failures[.service] != nil { serviceSent = nil }
    }

    mutating func setGate(_ ready: inout NodeReady) {
        // Without a directive the gate stays as it was found, unless a person says otherwise.
        guard memory.directive != nil || memory.brokenGlass != nil else { return }
        let mayOpen = hasLeaseExpired && memory.directive?.lease.onExpiry == .open
        var target = memory.brokenGlass != nil || mayOpen ? .open : gateWanted
        target.pace = memory.directive?.pace
        if target != gateSent {
            gateSent = target
            ready.gate = target
        }
    }

    mutating func setService(_ ready: inout NodeReady) {
        guard let wanted = memory.directive?.service, wanted != serviceSent else { return }
        serviceSent = wanted
        ready.service = wanted
    }

    /// The identity of the flip that the `current` link shows.
    var activeIdentity: ActivationIdentity? {
        guard let plan = memory.activation, let current = host.current,
            plan.release == current.release,
            plan.generation == current.generation
        else { return nil }
        return plan.identity
    }
}
