// SPDX-License-Identifier: Apache-2.0

public import ControlAPI
import RunStore
import SteadyClock
public import UpgradeEngine
public import UpgradeModel
import UpgradePlan

extension RunCoordinator {
    /// Runs in a list at most.
    private static let listLimit = 100
    /// Bytes of an identifier, and of a reason: both are stored.
    static let identifierLimit = 128
    private static let reasonLimit = 1024

    /// Puts an operator's request to a run.
    public func request(
        _ request: RunRequest, of run: RunIdentifier, by name: OperatorName
    ) async throws(APIError) -> RunView {
        guard (1...Self.identifierLimit).contains(request.request.utf8.count) else {
            throw .refused(
                "the identifier of the request has to have 1 to \(Self.identifierLimit) bytes")
        }
        guard (request.reason?.utf8.count ?? 0) <= Self.reasonLimit else {
            throw .refused("the reason is longer than \(Self.reasonLimit) bytes", "say it shorter")
        }
        if try memory.knows(request, of: run, by: name) { return try await view(of: run) }
        try await requireSpace { !$0.isLow }
        if published.run(run) == nil {
            // An older run of a fleet: it has ended, and the engine does not hold it any more.
            let old = try await oldRun(run)
            throw APIError(Refusal.ended(old.state))
        }
        let stamp = RequestStamp(request: request.request, by: name, reason: request.reason)
        try await alone(request.request) { () throws(APIError) in
            let input = try await self.input(request, of: run, stamp)
            try await submit(input)
            memory.note(
                request.request, by: name,
                .request(run, request.verb, reason: request.reason))
        }
        return try await view(of: run)
    }

    /// A request as the engine takes it; down files are kept as blobs first.
    private func input(
        _ request: RunRequest, of run: RunIdentifier, _ stamp: RequestStamp
    ) async throws(APIError) -> CoreInput {
        try requireDatabase(of: request, in: run)
        let demands = try await demands(request, of: run)
        guard demands.count <= 1 else {
            throw .refused("a request says one thing", "send them one after the other")
        }
        if let demand = demands.first { return .demand(run, demand, stamp) }
        guard request.verb != .resolve else {
            throw .refused(
                "resolve without what is resolved", "say --undone, --done, --off or --accept-schema"
            )
        }
        return .request(run, request.verb, stamp)
    }

    /// Whoever names a database means the one that the run waits for.
    private func requireDatabase(
        of request: RunRequest, in identifier: RunIdentifier
    ) throws(APIError) {
        guard let named = request.database, let run = published.run(identifier) else { return }
        let names = run.plan.databases.map(\.name)
        guard names.contains(named) else {
            throw .refused(
                "the plan has no database \(named)",
                "it has \(names.map(\.rawValue).joined(separator: ", "))")
        }
        let database = run.plan.database(labeled: run.databaseAtWork)
        guard run.isAtDatabase, let database, database.name != named else { return }
        throw .refused(
            "the run waits for the database \(database.name), not for \(named)",
            "say `--database \(database.name)`, or leave it out")
    }

    private func demands(
        _ request: RunRequest, of run: RunIdentifier
    ) async throws(APIError) -> [Demand] {
        var demands: [Demand] = []
        switch request.verb {
        case .retry:
            if let files = request.down, !files.isEmpty {
                demands.append(.mend(try await keepDown(files, of: run)))
            }
            if request.forward == true { demands.append(.goForward) }
        case .resolve:
            if let claims = request.claims, !claims.isEmpty {
                guard claims.count <= MigrationClaim.most,
                    claims.allSatisfy({ (1...20).contains($0.version.utf8.count) })
                else {
                    throw .refused("at most \(MigrationClaim.most) versions are resolved at once")
                }
                demands.append(.claim(claims))
            }
            if let node = request.off { demands.append(.takeOff(node)) }
            if request.acceptSchema == true { demands.append(.acceptSchema) }
        case .pause, .resume, .approve, .abort, .rollback: break
        }
        return demands
    }

    /// Takes in one request of an identifier at a time, so that the second one finds what the first has done.
    func alone(
        _ request: String, _ work: () async throws(APIError) -> Void
    ) async throws(APIError) {
        guard requestsUnderWay.insert(request).inserted else {
            throw APIError(
                .unavailable, message: "a request with this identifier is being taken in",
                advice: "send it again in a second")
        }
        defer { requestsUnderWay.remove(request) }
        try await work()
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
        return News(entries: try await facts(of: run, after: version), view: view)
    }

    /// The events after a version, without the run as it is: that costs as much as the fleet is large.
    public func facts(
        of run: RunIdentifier, after version: Int64
    ) async throws(APIError) -> [JournalEntry] {
        if let known = published.run(run), known.version <= version { return [] }
        if let recent = recent[run], let first = recent.first, first.version <= version + 1 {
            return Array(recent.dropFirst(Int(version - first.version) + 1))
        }
        return try await entries(of: run, after: version)
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
            throw APIError(.unavailable, message: "\(error)")
        }
    }

    /// A run that ended before the latest one of its fleet; folded once, then kept.
    private func oldRun(_ run: RunIdentifier) async throws(APIError) -> Run {
        if let known = oldRuns[run] { return known }
        let entries = try await entries(of: run, after: 0)
        guard !entries.isEmpty else { throw APIError(Refusal.noSuchRun(run)) }
        let folded = await WorkLane.history.run { CoordinatorCore.fold(entries.map(\.recorded)) }
        guard let folded else {
            throw APIError(
                .unavailable, message: "run \(run) was written by another version of sluice")
        }
        if oldRuns.count >= Self.listLimit { oldRuns = [:] }
        oldRuns[run] = folded
        return folded
    }

    func view(of run: Run, at now: Instant) -> RunView {
        var view = run.view(statuses: published.statuses, at: now)
        view.waits = waits[run.identifier]
        if let progress = progress[run.identifier] {
            view.database = (view.database.map { "\($0), " } ?? "") + progress
        }
        for index in view.nodes.indices {
            view.nodes[index].warning = warning(of: view.nodes[index].name, at: now)
        }
        return view
    }
}
