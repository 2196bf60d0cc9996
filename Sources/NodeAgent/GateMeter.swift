// SPDX-License-Identifier: Apache-2.0

import UpgradeModel
import WriteGate

/// Turns what the gate sees into what a status says: counts since the gate last closed, and when that was.
struct GateMeter: Sendable {
    private var isClosed = false
    private var atClosing = GateTotals()
    private var closedAt: Instant?
    private var openedAt: Instant?
    private var released = 0
    private var longestWait = Span.zero

    /// The gate is about to open to writes: those that wait go through.
    mutating func willOpen(_ snapshot: GateSnapshot) {
        guard snapshot.writesHeld > 0 else { return }
        released += snapshot.writesHeld
        longestWait = max(longestWait, snapshot.oldestHeld ?? .zero)
    }

    /// - Parameters:
    ///   - areReadsSettled: whether the reads that were let through before have left the application.
    ///   - areSessionsSettled: the same for the reads of sessions.
    ///   - haveUncountedLeft: whether the writes whose end nobody reports have left the application as well, if the gate is closed.
    ///   - sessionMarks: by what the proxy knows a session.
    mutating func observe(
        _ snapshot: GateSnapshot, areReadsSettled: Bool, areSessionsSettled: Bool = false,
        haveUncountedLeft: Bool = false, sessionMarks: String? = nil, at now: Instant
    ) -> GateObservation {
        let setting = snapshot.setting
        let isClosedNow =
            !setting.writes.isOpen || setting.readHold != nil || setting.sessionReadHold != nil
        if isClosedNow != isClosed {
            isClosed = isClosedNow
            if isClosed {
                closedAt = now
                openedAt = nil
                atClosing = snapshot.totals
                released = 0
                longestWait = .zero
            } else {
                openedAt = now
            }
        }
        let totals = snapshot.totals
        return GateObservation(
            writes: snapshot.setting.writes.kind, readsHeld: snapshot.setting.readHold != nil,
            readsSettled: snapshot.setting.readHold != nil && areReadsSettled,
            writesInFlight: snapshot.writesInFlight ?? (haveUncountedLeft ? 0 : nil),
            writesWaiting: snapshot.writesHeld,
            readsWaiting: snapshot.readsHeld,
            writesRefused: totals.writesRefused.total - atClosing.writesRefused.total,
            readsRefused: totals.readsRefused.total - atClosing.readsRefused.total,
            writesReleased: released, longestWait: longestWait, closedAt: closedAt,
            openedAt: openedAt, unasked: totals.unasked,
            sessionsHeld: setting.sessionReadHold != nil,
            sessionsSettled: setting.sessionReadHold != nil && areSessionsSettled,
            sessionMarks: sessionMarks,
            writesWaited: totals.writesWaited - atClosing.writesWaited,
            readsWaited: totals.readsWaited - atClosing.readsWaited,
            sessionReadsWaited: totals.sessionReadsWaited - atClosing.sessionReadsWaited)
    }
}
