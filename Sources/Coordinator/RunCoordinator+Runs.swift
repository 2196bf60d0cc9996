// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
import RunStore
import SteadyClock
public import UpgradeEngine
public import UpgradeModel

extension RunCoordinator {
    /// Runs in a list at most.
    private static let listLimit = 100

    /// Puts an operator's request to a run.
    public func request(
        _ request: RunRequest, of run: RunIdentifier, by name: OperatorName
    ) async throws(APIError) -> RunView {
        guard (1...Limits.text).contains(request.request.utf8.count),
            (request.reason?.utf8.count ?? 0) <= Limits.text
        else { throw .refused("the identifier of the request is empty, or a text is too long") }
        if published.run(run) == nil {
            // An older run of a fleet: it has ended, and the engine does not hold it any more.
            let old = try await oldRun(run)
            throw APIError(Refusal.ended(old.state))
        }
        let mark = RequestMark(request: request.request, by: name, reason: request.reason)
        try await submit(.request(run, request.verb, mark))
        return try await view(of: run)
    }

    /// A run as it is stored now.
    public func view(of run: RunIdentifier) async throws(APIError) -> RunView {
        if let held = published.run(run) { return view(of: held, at: clock.now) }
        return view(of: try await oldRun(run), at: clock.now)
    }

    /// The newest runs first.
    public func summaries() async throws(APIError) -> [RunSummary] {
        let records: [RunRecord]
        do throws(StoreFailure) {
            records = try await ports.journal.runs(limit: Self.listLimit)
        } catch {
            throw APIError(error)
        }
        var summaries: [RunSummary] = []
        for record in records {
            if let run = published.run(record.run) {
                summaries.append(run.summary)
            } else {
                summaries.append(try await oldRun(record.run).summary)
            }
        }
        return summaries
    }

    /// All events of a run, in order.
    public func journal(of run: RunIdentifier) async throws(APIError) -> RunJournal {
        let entries = try await entries(of: run, after: 0)
        guard !entries.isEmpty else { throw APIError(Refusal.noSuchRun(run)) }
        return RunJournal(run: run, entries: entries)
    }

    /// What is new for one who watches: the events after a version, and the run as it is.
    public struct News: Sendable {
        public var entries: [JournalEntry]
        public var view: RunView

        public init(entries: [JournalEntry], view: RunView) {
            self.entries = entries
            self.view = view
        }
    }

    /// A signal at once, and whenever the run, or what its nodes say, may have changed.
    public nonisolated func changes(of run: RunIdentifier) -> AsyncStream<Void> {
        watchers.add(run)
    }

    /// Read after a signal. Slow watchers miss no event: they ask for all since the one they know.
    public func news(
        of run: RunIdentifier, after version: Int64
    ) async throws(APIError) -> News {
        let view = try await view(of: run)
        guard view.version > version else { return News(entries: [], view: view) }
        if let recent = recent[run], let first = recent.first, first.version <= version + 1 {
            return News(entries: recent.filter { $0.version > version }, view: view)
        }
        return News(entries: try await entries(of: run, after: version), view: view)
    }

    private func entries(
        of run: RunIdentifier, after version: Int64
    ) async throws(APIError) -> [JournalEntry] {
        do {
            return try await ports.journal.entries(
                of: run, after: version, limit: Limits.journalEntries)
        } catch let failure as StoreFailure {
            throw APIError(failure)
        } catch {
            throw APIError(code: "unavailable", message: "\(error)")
        }
    }

    /// A run that ended before the latest one of its fleet; folded once, then kept.
    private func oldRun(_ run: RunIdentifier) async throws(APIError) -> Run {
        if let known = oldRuns[run] { return known }
        let entries = try await entries(of: run, after: 0)
        guard !entries.isEmpty else { throw APIError(Refusal.noSuchRun(run)) }
        guard let folded = CoordinatorCore.fold(entries.map(\.recorded)) else {
            throw APIError(
                code: "unavailable", message: "run \(run) was written by another version of sluice")
        }
        if oldRuns.count >= Self.listLimit { oldRuns = [:] }
        oldRuns[run] = folded
        return folded
    }

    func view(of run: Run, at now: Instant) -> RunView {
        run.view(statuses: published.statuses, at: now)
    }
}
