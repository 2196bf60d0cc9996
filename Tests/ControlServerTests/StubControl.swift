// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import ControlServer
import Coordinator
import Synchronization
import UpgradeEngine
import UpgradeModel

let someRun = RunIdentifier(unchecked: "20261122-180000-abcd")

/// A coordinator that answers what a test tells it, and remembers what it was asked.
final class StubControl: FleetControl {
    struct State {
        var health = Health(ok: true, epoch: Epoch(rawValue: 7))
        var asked: [String] = []
        var directive: Directive?
        var poll: CheckedContinuation<Void, Never>?
        var entries: [JournalEntry] = []
        var isEnded = false
        var viewCost = Duration.zero
        var watchers: [AsyncStream<Void>.Continuation] = []
    }

    let state = Mutex(State())

    var asked: [String] { state.withLock { $0.asked } }

    private func note(_ text: String) { state.withLock { $0.asked.append(text) } }

    var health: Health { get async { state.withLock { $0.health } } }

    func directive(for node: NodeName, _ query: DirectiveQuery) async throws(APIError) -> Directive?
    {
        note("directive \(node) \(query.text)")
        return state.withLock { $0.directive }
    }

    func report(_ status: NodeStatus, from node: NodeName) async throws(APIError) -> StatusReceipt {
        note("status \(node) \(status.sequence)")
        return StatusReceipt(epoch: status.epoch, revision: status.revision)
    }

    func nodes() async throws(APIError) -> [NodeView] {
        [
            NodeView(
                name: NodeName(unchecked: "web1"), labels: [:], run: nil, lastSeen: nil, status: nil
            )
        ]
    }

    func start(_ request: StartRun, by name: OperatorName) async throws(APIError) -> RunView {
        note("start \(request.request) by \(name)")
        if request.planFile == "wrong.yaml" {
            throw APIError(
                code: "invalid-plan", message: "wrong",
                diagnostics: [Diagnostic(.error, code: "x", "y")])
        }
        return view
    }

    func databaseFindings(
        _ question: DatabaseQuestion
    ) async throws(APIError) -> DatabaseFindings {
        note("look for \(question.planFile)")
        return DatabaseFindings([])
    }

    func request(
        _ request: RunRequest, of run: RunIdentifier, by name: OperatorName
    ) async throws(APIError) -> RunView {
        note("\(request.verb.rawValue) \(run) by \(name)")
        return view
    }

    func view(of run: RunIdentifier) async throws(APIError) -> RunView {
        guard run == someRun else { throw APIError(Refusal.noSuchRun(run)) }
        return view
    }

    func summaries() async throws(APIError) -> [RunSummary] { [view.summary] }

    func journal(of run: RunIdentifier) async throws(APIError) -> RunJournal {
        RunJournal(run: run, entries: state.withLock { $0.entries })
    }

    func changes(of run: RunIdentifier) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream<Void>.makeStream(
            bufferingPolicy: .bufferingNewest(1))
        continuation.yield()
        state.withLock { $0.watchers.append(continuation) }
        return stream
    }

    func facts(
        of run: RunIdentifier, after version: Int64
    ) async throws(APIError) -> [JournalEntry] {
        state.withLock { state in state.entries.filter { $0.version > version } }
    }

    func news(of run: RunIdentifier, after version: Int64) async throws(APIError)
        -> RunCoordinator.News
    {
        try? await Task.sleep(for: state.withLock { $0.viewCost })
        return RunCoordinator.News(
            entries: state.withLock { state in state.entries.filter { $0.version > version } },
            view: view)
    }

    /// Stores one more event, and tells those who watch.
    func add(_ event: RunEvent, ending isEnded: Bool = false) {
        let watchers = state.withLock { state in
            state.entries.append(
                JournalEntry(
                    version: Int64(state.entries.count) + 1, epoch: Epoch(rawValue: 7),
                    at: Instant(milliseconds: 1), event: event))
            state.isEnded = isEnded
            return state.watchers
        }
        for watcher in watchers { watcher.yield() }
    }

    /// The coordinator ends.
    func finishStreams() {
        for watcher in state.withLock({ $0.watchers }) { watcher.finish() }
    }

    private var view: RunView {
        let (version, isEnded) = state.withLock { (Int64($0.entries.count), $0.isEnded) }
        return RunView(
            summary: RunSummary(
                run: someRun, fleet: FleetName(unchecked: "web"),
                release: ReleaseName(unchecked: "v2"),
                createdAt: Instant(milliseconds: 0), state: isEnded ? .done : .running,
                phase: .stage,
                startedBy: OperatorName(unchecked: "ada")), version: version,
            now: Instant(milliseconds: 9), step: "stage", reason: nil, advice: nil, batch: 0,
            batches: 1,
            windowOpened: nil, windowClosed: nil, database: nil, nodes: [])
    }
}
