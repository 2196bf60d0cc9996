// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Testing
import UpgradeModel

@Suite("A status") struct StatusLimitTests {
    static let status = NodeStatus(
        epoch: Epoch(rawValue: 1), revision: 2, boot: "b", sequence: 3, agentVersion: "1",
        gate: GateObservation(), lease: .open, staged: [], staging: nil, active: nil, service: .in,
        tasks: [], health: nil, failures: [], diskFree: 0)

    /// A way to exceed a limit, and the words that say so.
    struct Excess: Sendable, CustomTestStringConvertible {
        var words: String
        var make: @Sendable (inout NodeStatus) -> Void
        var testDescription: String { words }
    }

    static let long = String(repeating: "x", count: Limits.text + 1)
    static let identity = TaskIdentity(rawValue: "t")
    static let release = ReleaseReference(
        name: ReleaseName(unchecked: "v1"), manifest: Digest(bytes: Array(repeating: 0, count: 32)))

    static let excesses: [Excess] = [
        Excess(words: "staged releases") {
            $0.staged = Array(repeating: release, count: Limits.statusEntries + 1)
        },
        Excess(words: "tasks") {
            $0.tasks = Array(
                repeating: TaskOutcome(identity: identity, state: .done),
                count: Limits.statusEntries + 1)
        },
        Excess(words: "failures") {
            $0.failures = Array(
                repeating: NodeFailure(goal: .stage, message: ""), count: Limits.statusEntries + 1)
        },
        Excess(words: "boot") { $0.boot = long },
        Excess(words: "agentVersion") { $0.agentVersion = long },
        Excess(words: "breakGlass") { $0.breakGlass = long },
        Excess(words: "output") {
            $0.tasks = [TaskOutcome(identity: identity, state: .failed, output: long)]
        },
        Excess(words: "task") {
            $0.tasks = [TaskOutcome(identity: TaskIdentity(rawValue: long), state: .done)]
        },
        Excess(words: "failure") { $0.failures = [NodeFailure(goal: .stage, message: long)] },
        Excess(words: "health") {
            $0.health = HealthObservation(identity: identity, state: .checking, detail: long)
        },
        Excess(words: "negative") { $0.gate.writesInFlight = -1 },
        Excess(words: "negative") { $0.gate.writesReleased = -1 },
        Excess(words: "negative") { $0.sequence = -1 },
        Excess(words: "negative") { $0.diskFree = -1 },
    ]

    @Test("within every limit is taken")
    func within() {
        var status = Self.status
        #expect(status.limitProblem == nil)
        status.tasks = Array(
            repeating: TaskOutcome(
                identity: Self.identity, state: .done,
                output: String(repeating: "x", count: Limits.text)),
            count: Limits.statusEntries)
        #expect(status.limitProblem == nil)
    }

    @Test("beyond any limit is refused, and says which", arguments: excesses)
    func beyond(_ excess: Excess) throws {
        var status = Self.status
        excess.make(&status)
        let problem = try #require(status.limitProblem)
        #expect(problem.contains(excess.words))
        #expect(problem.utf8.count < 200)
    }
}

@Suite("A path") struct PathTests {
    @Test("is the same for everybody: changing one is another protocol")
    func paths() {
        let digest = Digest(bytes: Array(repeating: 0xAB, count: 32))
        let run = RunIdentifier(unchecked: "r1")
        #expect(
            [
                Path.health, Path.metrics, Path.directive, Path.status, Path.nodes, Path.runs,
                Path.blob(digest), Path.run(run), Path.requests(run), Path.stream(run),
                Path.journal(run),
            ] == [
                "/healthz", "/metrics", "/v1/node/directive", "/v1/node/status", "/v1/nodes",
                "/v1/runs",
                "/v1/blobs/" + String(repeating: "ab", count: 32), "/v1/runs/r1",
                "/v1/runs/r1/requests", "/v1/runs/r1/stream", "/v1/runs/r1/journal",
            ])
        let query = DirectiveQuery(epoch: Epoch(rawValue: 3), revision: 17, wait: .seconds(30))
        #expect(query.text == "epoch=3&revision=17&wait=30000")
    }
}
