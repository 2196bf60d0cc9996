// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What an agent does at its start, while nothing but the memory is known: before the host has been looked at.
extension NodeMemory {
    /// What the gate has to do.
    ///
    /// Reads that wait for a flip are held even when it has happened; the engine, which sees the host, lets them through.
    public var gateAtStart: GateTarget {
        guard let directive, brokenGlass == nil, !hasOpenedByItself else { return .open }
        return GateTarget(
            writes: directive.writes, reads: directive.reads.hold, sessions: directive.sessions)
    }

    /// What to write down before the gate is closed at a start; `nil` when there is nothing.
    ///
    /// The last contact is not in the journal, so the first start without it gives the coordinator one fresh lease. Those after
    /// it go on with the same: however often an agent dies or a node boots, the gate opens when the lease is over. A clock that
    /// jumps forward ends the lease early; one that went back ends it too, because nobody knows for how long it has run. Both
    /// are harmless while nothing but the gate is closed. Where more may be (`keep`), nothing opens and nothing is noted.
    ///
    /// When the record cannot be written, take it for `leaseExpired` all the same: nothing else would end the closed time.
    ///
    /// - Parameters:
    ///   - now: on the agent's steady clock, which never starts before the journal's last instant.
    ///   - clockWentBack: the wall clock is before the journal's last instant.
    public func recordAtStart(at now: Instant, clockWentBack: Bool) -> NodeJournalRecord? {
        guard let directive, directive.lease.onExpiry == .open, gateAtStart != .open else {
            return nil
        }
        switch lease {
        case nil: return .leaseResumed(at: now)
        case .resumed(let start):
            let isOver = clockWentBack || now >= start + directive.lease.duration
            return isOver ? .leaseExpired(at: now) : nil
        case .expired: return nil
        }
    }

    /// Whether the lease ran out without the coordinator's word and the gate was free to open.
    var hasOpenedByItself: Bool {
        guard case .expired = lease else { return false }
        return directive?.lease.onExpiry == .open
    }
}
