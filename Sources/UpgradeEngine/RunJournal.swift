// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// One stored event of a run as it travels to an operator.
public struct JournalEntry: Hashable, Codable, Sendable {
    /// Counts from 1 within the run, without gaps.
    public var version: Int64
    public var epoch: Epoch
    public var at: Instant
    public var event: RunEvent

    public init(version: Int64, epoch: Epoch, at: Instant, event: RunEvent) {
        self.version = version
        self.epoch = epoch
        self.at = at
        self.event = event
    }

    /// The event as a run is folded from it.
    public var recorded: RecordedEvent { RecordedEvent(at: at, epoch: epoch, event: event) }
}

/// All events of a run so far, in order: what a report is made from.
public struct RunJournal: Hashable, Codable, Sendable {
    public var run: RunIdentifier
    public var entries: [JournalEntry]

    public init(run: RunIdentifier, entries: [JournalEntry]) {
        self.run = run
        self.entries = entries
    }
}
