// SPDX-License-Identifier: Apache-2.0

public import UpgradeModel

/// What happened in a run, folded from its events: what `report` shows as text, page and JSON.
///
/// It needs nothing but the journal, so the same journal gives the same report for ever. A run in progress
/// gives a report of what has happened so far.
public struct RunReport: Hashable, Codable, Sendable {
    public var run: RunIdentifier
    public var fleet: FleetName
    public var release: ReleaseReference
    public var planFile: String
    /// SHA-256 over plan, manifest and migrations.
    public var digest: Digest
    public var startedBy: OperatorName
    public var createdAt: Instant
    /// When the run ended; `nil` while it goes on.
    public var endedAt: Instant?
    /// The time of the last event.
    public var lastAt: Instant
    public var state: RunState
    /// Why the run turned back or waits.
    public var reason: String?
    /// What to do next, when a person has to.
    public var advice: String?
    public var steps: [StepEntry]
    public var nodes: [NodeEntry]
    public var database: [DatabaseEntry]
    /// That of the only database; several have theirs among the tasks.
    public var census: CensusProof?
    public var requests: [RequestEntry]
    /// Every failure, quarantine and takeover, in order.
    public var troubles: [TroubleEntry]
    /// From the first word to close a gate until every gate was open.
    public var windowOpened: Instant?
    public var windowClosed: Instant?
    /// Each run of the application's own migration tool that has ended, in order.
    public var tools: [ToolEntry]?
    /// What hooks have done and nothing has undone, for people.
    public var stillPaused: [String]?
    /// The databases whose fence is left up, with their sites closed.
    public var leftOut: [DatabaseLeftOut]?
    /// What of the schema is not as before, after a way back.
    public var schemaChanges: [String]?
    /// Which tables the fence has refused, and how often, for people; the figures are with the task that lowered it.
    public var refusedTables: [String]?

    /// One step, once for each time that it began.
    public struct StepEntry: Hashable, Codable, Sendable {
        public var direction: Direction
        public var phase: Phase
        public var step: Step
        public var title: String
        public var began: Instant
        /// The last fact that completed it; `nil` while it is current, and for one that was not completed.
        public var ended: Instant?
    }

    /// One node and what became of it.
    public struct NodeEntry: Hashable, Codable, Sendable {
        public var name: NodeName
        /// Counts from 1; the canary is 1. `nil` for a node that joined during the run.
        public var batch: Int?
        /// The release that it served before the run touched it.
        public var before: ReleaseName?
        public var milestones: [Milestone]
        /// Why it is kept out of service at the end; `nil` when it takes part.
        public var quarantine: String?
        /// What its gate did with requests; `nil` while it is closed, and of an older agent.
        public var gate: GateFigures?
        /// Connections of the old release that were open still when it was silenced: streams, sockets, and reads that took too long.
        /// `nil` for none, and in older reports.
        public var cut: Int?
        /// Which limits of its proxy held requests would meet, as preflight found.
        public var warnings: [String]?
    }

    /// Something that a node did.
    public struct Milestone: Hashable, Codable, Sendable {
        public enum Kind: String, Codable, Sendable {
            case reached, failed, quarantined, readmitted, joined
        }

        public var at: Instant
        public var kind: Kind
        /// The current step; `nil` before the first.
        public var step: Step?
        /// Why, for a failure and a quarantine.
        public var reason: String?
    }

    /// One attempt at a database task.
    public struct DatabaseEntry: Hashable, Codable, Sendable {
        public var kind: DatabaseTask.Kind
        public var attempt: Int
        public var began: Instant
        public var ended: Instant?
        public var result: DatabaseTaskEnded.Result?
        public var report: DatabaseReport?
        public var failure: DatabaseFailure?
        /// The label of the database; `nil` where the plan has one.
        public var database: DatabaseName?
    }

    /// One run of a migration tool, or of the action that undoes it.
    public struct ToolEntry: Hashable, Codable, Sendable {
        public var direction: Direction
        public var at: Instant
        public var ended: ToolEnded
        /// The phase that it belongs to; `nil` in older reports, where it is the window's.
        public var phase: Phase?

        /// Whether it ran in the write window.
        fileprivate var isInWindow: Bool { phase?.isInWriteWindow ?? true }
    }

    /// What an operator asked for, and when.
    public struct RequestEntry: Hashable, Codable, Sendable {
        public var at: Instant
        public var verb: RequestVerb
        public var by: OperatorName
        public var reason: String?
        /// The current phase.
        public var phase: Phase
        /// The same in words.
        public var message: String
    }

    /// Something that did not go as planned.
    public struct TroubleEntry: Hashable, Codable, Sendable {
        public enum Kind: String, Codable, Sendable {
            case failed, quarantined, joined, turnedBack, stopped, cutShort, databaseFailed,
                databaseLost, databaseLeftOut, takeover, oldRelease, standby
        }

        public var at: Instant
        public var kind: Kind
        public var node: NodeName?
        /// What happened, in words.
        public var message: String
    }

    /// - Returns: `nil` when the events do not begin with a `created`.
    public init?(_ events: [RecordedEvent]) {
        guard let first = events.first, case .created(let created) = first.event else { return nil }
        self.init(created, at: first.at)
        var fold = Fold(self, of: created, at: first.at, epoch: first.epoch)
        for event in events.dropFirst() { fold.add(event) }
        self = fold.finished()
    }

    /// The report of a run's journal.
    public init?(_ journal: RunJournal) {
        self.init(journal.entries.map(\.recorded))
    }

    private init(_ created: RunCreated, at instant: Instant) {
        run = created.run
        fleet = created.fleet
        release = created.release
        planFile = created.planFile
        digest = created.digest
        startedBy = created.by
        createdAt = instant
        lastAt = instant
        state = .running
        steps = []
        nodes = created.nodes.map { NodeEntry(name: $0, milestones: []) }
        database = []
        requests = []
        troubles = []
    }
}

extension RunReport {
    /// How long writes were closed; `nil` when they never were, or still are.
    public var window: Span? {
        guard let windowOpened, let windowClosed else { return nil }
        return windowClosed - windowOpened
    }

    /// How long the `switch` migrations themselves took, as the database said, and the migration tool, as its node said; `nil` when
    /// none ran.
    public var migration: Span? { sum(time(of: .migrate), time(ofTool: .forward)) }

    /// How long it took to undo them; `nil` when nothing was undone.
    public var reversion: Span? { sum(time(of: .revertMigrate), time(ofTool: .back)) }

    /// The time without writes in which the schema was not being changed: what the upgrade itself added.
    public var windowMinusMigration: Span? {
        window.map { window in
            let work = (migration ?? .zero) + (reversion ?? .zero)
            return Span(milliseconds: window.milliseconds - work.milliseconds)
        }
    }

    private func time(of kind: DatabaseTask.Kind) -> Span? {
        let done: [(from: Instant, to: Instant)] = database.compactMap { entry in
            guard entry.kind == kind, entry.result == .done, let ended = entry.ended,
                let report = entry.report
            else { return nil }
            return (ended + Span(milliseconds: -report.duration.milliseconds), ended)
        }
        let work = done.sorted { $0.from < $1.from }
        guard let first = work.first else { return nil }
        // What several databases do side by side takes its time once.
        var (total, until) = (Span.zero, first.from)
        for (from, to) in work where to > until {
            total = total + (to - max(from, until))
            until = to
        }
        return total
    }

    private func time(ofTool direction: Direction) -> Span? {
        let spans = (tools ?? []).filter { $0.direction == direction && $0.isInWindow }
            .compactMap(\.ended.duration)
        return spans.isEmpty ? nil : spans.reduce(.zero) { $0 + $1 }
    }

    private func sum(_ left: Span?, _ right: Span?) -> Span? {
        guard let left, let right else { return left ?? right }
        return left + right
    }

    /// From the first event to the end, or to the last event so far.
    public var duration: Span { (endedAt ?? lastAt) - createdAt }

    /// Each phase in the order in which it was current, with the time it took, the way back included.
    public var phases: [PhaseEntry] {
        var phases: [PhaseEntry] = []
        for (index, entry) in steps.enumerated() {
            let following = index + 1 < steps.count ? steps[index + 1].began : nil
            let end = following ?? entry.ended ?? endedAt ?? lastAt
            if let last = phases.last, last.phase == entry.phase, last.direction == entry.direction
            {
                phases[phases.count - 1].ended = end
            } else {
                phases.append(
                    PhaseEntry(
                        direction: entry.direction, phase: entry.phase, began: entry.began,
                        ended: end))
            }
        }
        return phases
    }

    /// The time in which one phase was current.
    public struct PhaseEntry: Hashable, Codable, Sendable {
        public var direction: Direction
        public var phase: Phase
        public var began: Instant
        public var ended: Instant
    }
}
