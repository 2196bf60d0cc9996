// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct StatusLimitTests {
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

    static let long = String(repeating: "x", count: Bounds.text + 1)
    static let identity = TaskIdentity(rawValue: "t")
    static let release = ReleaseReference(
        name: ReleaseName(unchecked: "v1"), manifest: Digest(bytes: Array(repeating: 0, count: 32)))

    static let excesses: [Excess] = [
        Excess(words: "staged releases") {
            $0.staged = Array(repeating: release, count: Bounds.entries + 1)
        },
        Excess(words: "tasks") {
            $0.tasks = Array(
                repeating: TaskOutcome(identity: identity, state: .done),
                count: Bounds.entries + 1)
        },
        Excess(words: "failures") {
            $0.failures = Array(
                repeating: NodeFailure(goal: .stage, message: ""), count: Bounds.entries + 1)
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
        Excess(words: "boot has characters") { $0.boot = "b\u{1b}[2J" },
        Excess(words: "agentVersion has characters") { $0.agentVersion = "1 \u{202e}" },
        Excess(words: "epoch") { $0.epoch = Epoch(rawValue: .max) },
        Excess(words: "revision") { $0.revision = .max },
        Excess(words: "sequence") { $0.sequence = .max },
        Excess(words: "diskFree") { $0.diskFree = .max },
        Excess(words: "gate.writesInFlight") { $0.gate.writesInFlight = .max },
        Excess(words: "gate.writesWaiting") { $0.gate.writesWaiting = .max },
        Excess(words: "gate.readsWaiting") { $0.gate.readsWaiting = .max },
        Excess(words: "gate.writesRefused") { $0.gate.writesRefused = .max },
        Excess(words: "gate.readsRefused") { $0.gate.readsRefused = .max },
        Excess(words: "gate.writesReleased") { $0.gate.writesReleased = .max },
        Excess(words: "gate.longestWait") { $0.gate.longestWait = Span(milliseconds: .max) },
        Excess(words: "gate.closedAt") { $0.gate.closedAt = Instant(milliseconds: .min) },
        Excess(words: "gate.openedAt") { $0.gate.openedAt = Instant(milliseconds: .max) },
        Excess(words: "staging.bytesDone") {
            $0.staging = StagingProgress(release: release, bytesDone: .max, bytesTotal: 0)
        },
        Excess(words: "staging.bytesTotal") {
            $0.staging = StagingProgress(release: release, bytesDone: 0, bytesTotal: -1)
        },
        Excess(words: "active.cacheGeneration") {
            $0.active = ActiveRelease(
                release: release, identity: nil, cacheGeneration: CacheGeneration(rawValue: .max))
        },
        Excess(words: "duration") {
            $0.tasks = [
                TaskOutcome(identity: identity, state: .done, duration: Span(milliseconds: .max))
            ]
        },
    ]

    @Test
    func withinEveryLimitIsTaken() {
        var status = Self.status
        #expect(status.limitProblem == nil)
        status.tasks = Array(
            repeating: TaskOutcome(
                identity: Self.identity, state: .done,
                output: String(repeating: "x", count: Bounds.text)),
            count: Bounds.entries)
        #expect(status.limitProblem == nil)
    }

    @Test(arguments: excesses)
    func beyondAnyLimitIsRefusedAndSaysWhich(_ excess: Excess) throws {
        var status = Self.status
        excess.make(&status)
        let problem = try #require(status.limitProblem)
        #expect(problem.contains(excess.words))
        #expect(problem.utf8.count < 200)
    }
}
