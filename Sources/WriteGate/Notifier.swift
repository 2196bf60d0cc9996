// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// Decides when a change is worth a call: at once when the last write in flight of a closed gate ends or the setting
/// changes, and at most every 100 ms while requests come and go.
struct Notifier {
    private static let quiet = Span.milliseconds(100)

    private struct Report: Equatable {
        var setting: GateSetting
        var isDrained: Bool
        var writesHeld: Int
        var readsHeld: Int
    }

    /// When a change that has been kept back is due.
    private(set) var deadline: Instant?
    private var lastReport: Report?
    private var toldAt: Instant?

    mutating func isDue(_ counts: Admission.Counts, at now: Instant) -> Bool {
        let current = Report(
            setting: counts.setting,
            isDrained: counts.isDrained,
            writesHeld: counts.writesHeld, readsHeld: counts.readsHeld)
        guard current != lastReport else {
            deadline = nil
            return false
        }
        let isUrgent =
            current.setting != lastReport?.setting || current.isDrained != lastReport?.isDrained
        if !isUrgent, let toldAt, now < toldAt + Self.quiet {
            deadline = toldAt + Self.quiet
            return false
        }
        deadline = nil
        lastReport = current
        toldAt = now
        return true
    }
}
