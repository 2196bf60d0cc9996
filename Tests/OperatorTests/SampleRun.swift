// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import UpgradeModel

@testable import UpgradeEngine

/// Journals and views of a run of three nodes, as a coordinator would have them.
struct SampleRun {
    static let identifier = RunIdentifier(unchecked: "20261122-182903-k3")
    static let began = Instant(milliseconds: 1_795_372_143_000)
    static let manifest = digest("a")

    static let plan = """
        fleet: guestbook
        nodes: {names: [web-1, web-2, web-3]}
        release: {name: v2, expected: v1, bundle: bundle}
        database: {url: env:DATABASE_URL, migrations: migrations}
        rollout: {batches: 2, health: {check: page}}

        """

    static func digest(_ letter: Character) -> Digest {
        Digest(String(repeating: letter, count: 64))
            ?? Digest(bytes: Array(repeating: 0, count: 32))
    }

    private(set) var entries: [JournalEntry] = []
    private var now: Int64 = 0
    private var index = 0
    private var epoch = Epoch(rawValue: 4)

    var journal: RunJournal { RunJournal(run: SampleRun.identifier, entries: entries) }

    init(plan: String = SampleRun.plan, nodes: Int = 3) {
        add(
            .created(
                RunCreated(
                    run: SampleRun.identifier, fleet: FleetName(unchecked: "guestbook"), plan: plan,
                    planFile: "plans/guestbook-v2.yaml", digest: SampleRun.digest("d"),
                    release: ReleaseReference(
                        name: ReleaseName(unchecked: "v2"), manifest: SampleRun.manifest),
                    migrations: [],
                    nodes: (1...nodes).map { SampleRun.nodes($0)[0] },
                    by: OperatorName(unchecked: "ada"),
                    request: "r-1")))
    }

    static func nodes(_ numbers: Int...) -> [NodeName] {
        numbers.map { NodeName(unchecked: "web-\($0)") }
    }

    mutating func add(_ event: RunEvent, after milliseconds: Int64 = 0) {
        now += milliseconds
        entries.append(
            JournalEntry(
                version: Int64(entries.count + 1), epoch: epoch,
                at: Instant(milliseconds: SampleRun.began.milliseconds + now), event: event))
    }

    mutating func takeOver() { epoch = epoch.next }

    mutating func begin(
        _ phase: Phase, _ step: Step, _ direction: UpgradeEngine.Direction = .forward,
        after milliseconds: Int64 = 0
    ) {
        add(
            .stepBegan(StepBegan(direction: direction, index: index, phase: phase, step: step)),
            after: milliseconds)
        index += 1
    }

    mutating func reach(_ numbers: Int..., each milliseconds: Int64) {
        for node in numbers {
            add(.nodeReached(NodeFact(node: SampleRun.nodes(node)[0])), after: milliseconds)
        }
    }

    mutating func fail(_ node: Int, _ reason: String) {
        add(.nodeFailed(NodeTrouble(node: SampleRun.nodes(node)[0], reason: reason)))
    }

    mutating func database(
        _ phase: Phase, _ kind: DatabaseTask.Kind, _ report: DatabaseReport,
        _ direction: UpgradeEngine.Direction = .forward, after milliseconds: Int64
    ) {
        begin(phase, .database(kind), direction)
        add(.databaseTaskStarted(DatabaseTaskFact(kind: kind, attempt: 1)))
        add(
            .databaseTaskEnded(
                DatabaseTaskEnded(kind: kind, attempt: 1, result: .done, report: report)),
            after: milliseconds)
    }

    /// Up to the end of the migration, which takes 1.1 s.
    mutating func runToMigration() {
        begin(.preflight, .present)
        for node in SampleRun.nodes(1, 2, 3) {
            add(
                .nodeSurveyed(
                    NodeSurveyed(
                        node: node,
                        active: ActiveRelease(
                            release: ReleaseReference(
                                name: ReleaseName(unchecked: "v1"), manifest: SampleRun.digest("b")),
                            identity: nil, cacheGeneration: .zero), agentVersion: "1.0.0")),
                after: 10)
            add(.nodeReached(NodeFact(node: node)))
        }
        database(.preflight, .preflight, DatabaseReport(duration: .milliseconds(70)), after: 80)
        begin(.stage, .staged)
        reach(1, 2, 3, each: 500)
        database(
            .stage, .expand,
            DatabaseReport(
                lines: ["applied 0002_recent_entries (41 ms)"], duration: .milliseconds(41)),
            after: 50)
        begin(.readOnly, .closed)
        reach(1, 2, 3, each: 10)
        database(.readOnly, .raiseFence, DatabaseReport(duration: .milliseconds(20)), after: 25)
        begin(.drain, .drained)
        reach(1, 2, 3, each: 5)
        database(
            .drain, .census,
            DatabaseReport(
                duration: .milliseconds(10),
                census: CensusProof(
                    transaction: "7345", fenceLSN: "0/1A2B3C8", stored: SampleRun.digest("c"),
                    ended: ["app, gunicorn, 2.1 s, INSERT INTO entry"])), after: 12)
        begin(.migrate, .braced)
        reach(1, 2, 3, each: 5)
        database(
            .migrate, .migrate,
            DatabaseReport(
                lines: ["applied 0003_split_author (1095 ms)"], duration: .milliseconds(1100)),
            after: 1105)
    }

    static func straight() -> SampleRun {
        var run = SampleRun()
        run.runToMigration()
        run.begin(.rollout, .upgraded(batch: 0))
        run.reach(1, each: 40)
        run.begin(.rollout, .upgraded(batch: 1))
        run.reach(2, 3, each: 20)
        run.begin(.verify, .verified)
        run.reach(1, 2, 3, each: 5)
        run.database(.lift, .lowerFence, DatabaseReport(duration: .milliseconds(9)), after: 10)
        run.begin(.lift, .opened)
        run.reach(1, 2, 3, each: 4)
        run.database(
            .finish, .contract, DatabaseReport(lines: [], duration: .milliseconds(3)), after: 5)
        run.begin(.finish, .retired)
        run.reach(1, 2, 3, each: 30)
        run.add(.ended(Ended(outcome: .done)))
        return run
    }

    /// A node is not on the release that the plan expects.
    static func refused() -> SampleRun {
        var run = SampleRun()
        run.begin(.preflight, .present)
        let reason = "it serves v0, and the plan expects v1"
        run.add(.nodeFailed(NodeTrouble(node: nodes(1)[0], reason: reason)), after: 3)
        run.add(
            .turnedBack(
                TurnedBack(
                    reason: "hear from every node failed on web-1: \(reason)", stamp: nil,
                    advice: "correct release.expected")))
        run.add(.ended(Ended(outcome: .refused)))
        return run
    }

    /// The canary fails, after a change of coordinators; everything is put back.
    static func rolledBack() -> SampleRun {
        var run = SampleRun()
        run.runToMigration()
        run.begin(.rollout, .upgraded(batch: 0))
        run.takeOver()
        let reason = "the page says <b>500</b> & \"more\""
        run.add(.nodeFailed(NodeTrouble(node: nodes(1)[0], reason: reason)), after: 300)
        run.add(
            .turnedBack(
                TurnedBack(reason: "upgrade the canary failed on web-1: \(reason)", stamp: nil)))
        run.begin(.rollout, .reactivated, .back)
        run.reach(1, 2, 3, each: 20)
        run.database(
            .migrate, .revertMigrate, DatabaseReport(duration: .milliseconds(400)), .back,
            after: 410)
        run.database(
            .readOnly, .lowerFence, DatabaseReport(duration: .milliseconds(9)), .back, after: 10)
        run.begin(.readOnly, .opened, .back)
        run.reach(1, 2, 3, each: 4)
        run.add(.ended(Ended(outcome: .rolledBack)))
        return run
    }

    // MARK: Views

    static func status(
        release: String = "v1", gate: GateObservation = GateObservation(),
        failures: [NodeFailure] = []
    ) -> NodeStatus {
        NodeStatus(
            epoch: Epoch(rawValue: 4), revision: 12, boot: "b", sequence: 1, agentVersion: "1.0.0",
            gate: gate,
            lease: .open, staged: [], staging: nil,
            active: ActiveRelease(
                release: ReleaseReference(
                    name: ReleaseName(unchecked: release), manifest: digest("b")),
                identity: nil, cacheGeneration: .zero),
            service: .in, tasks: [], health: nil, failures: failures, diskFree: 5 << 30)
    }

    static func row(
        _ number: Int, reached: Bool?, batch: Int?, seen: Span? = .milliseconds(300),
        status: NodeStatus? = nil,
        quarantine: String? = nil
    ) -> NodeRow {
        NodeRow(
            name: nodes(number)[0], standing: quarantine == nil ? .member : .quarantined,
            reached: reached,
            batch: batch, reason: quarantine, lastSeen: seen, status: status)
    }

    static func summary(_ state: RunState = .running, phase: Phase = .rollout) -> RunSummary {
        RunSummary(
            run: identifier, fleet: FleetName(unchecked: "guestbook"),
            release: ReleaseName(unchecked: "v2"),
            createdAt: began, state: state, phase: phase, startedBy: OperatorName(unchecked: "ada"))
    }

    static func view(
        _ state: RunState = .running, version: Int64 = 60, nodes: [NodeRow] = [],
        reason: String? = nil, advice: String? = nil,
        windowClosed: Instant? = nil
    ) -> RunView {
        RunView(
            summary: summary(state), version: version, now: began + .milliseconds(3250),
            step: "upgrade batch 2", reason: reason, advice: advice, batch: 2, batches: 2,
            windowOpened: began + .milliseconds(1700), windowClosed: windowClosed, database: nil,
            nodes: nodes)
    }
}
