// SPDX-License-Identifier: Apache-2.0

import Testing
import UpgradeModel

@Suite struct DirectiveLimitTests {
    static let directive = Directive(
        epoch: Epoch(rawValue: 1), revision: 2,
        writes: .hold(HoldLimits(atMost: 1000, duration: .seconds(15), retryAfter: .seconds(5))),
        tasks: [task("r/rollout/after/reload/1", "reload")],
        health: HealthGoal(
            identity: TaskIdentity(rawValue: "h"), check: HealthCheckName(unchecked: "page"),
            release: ReleaseName(unchecked: "v2"), consecutive: 2), keepReleases: 3)

    /// A way to exceed a bound, and the words that say so.
    struct Excess: Sendable, CustomTestStringConvertible {
        var words: String
        var make: @Sendable (inout Directive) -> Void
        var testDescription: String { words }
    }

    static let most = Span(milliseconds: .max)

    static func task(_ identity: String, _ name: String) -> NodeTask {
        NodeTask(
            identity: TaskIdentity(rawValue: identity), kind: .action, name: name,
            timing: .afterActivation, release: nil)
    }

    static let excesses: [Excess] = [
        Excess(words: "epoch") { $0.epoch = Epoch(rawValue: .max) },
        Excess(words: "announced") { $0.announced = Instant(milliseconds: .max) },
        Excess(words: "epoch is negative") { $0.epoch = Epoch(rawValue: -1) },
        Excess(words: "revision") { $0.revision = .max },
        Excess(words: "writes.hold.atMost") {
            $0.writes = .hold(
                HoldLimits(atMost: .max, duration: .seconds(1), retryAfter: .seconds(1)))
        },
        Excess(words: "writes.hold.duration") {
            $0.writes = .hold(HoldLimits(atMost: 1, duration: most, retryAfter: .seconds(1)))
        },
        Excess(words: "writes.hold.retryAfter") {
            $0.writes = .hold(HoldLimits(atMost: 1, duration: .seconds(1), retryAfter: most))
        },
        Excess(words: "writes.retryAfter") {
            $0.writes = .refuse(retryAfter: most, message: "wait")
        },
        Excess(words: "writes.message") {
            $0.writes = .refuse(
                retryAfter: .seconds(1), message: String(repeating: "x", count: Bounds.text + 1))
        },
        Excess(words: "reads.hold.duration") {
            $0.reads = ReadAdmission(
                hold: HoldLimits(atMost: 1, duration: most, retryAfter: .seconds(1)))
        },
        Excess(words: "lease.duration") { $0.lease.duration = most },
        Excess(words: "lease.duration is negative") { $0.lease.duration = .milliseconds(-1) },
        Excess(words: "tasks, and") {
            $0.tasks = Array(repeating: task("t", "a"), count: Bounds.entries + 1)
        },
        Excess(words: "tasks.identity") { $0.tasks = [task("t\u{1b}]0;", "a")] },
        Excess(words: "tasks.name") {
            $0.tasks = [task("t", String(repeating: "x", count: Bounds.word + 1))]
        },
        Excess(words: "health.consecutive") { $0.health?.consecutive = .max },
        Excess(words: "health.identity") { $0.health?.identity = TaskIdentity(rawValue: "h h") },
        Excess(words: "keepReleases") { $0.keepReleases = .max },
        Excess(words: "keepReleases is negative") { $0.keepReleases = -1 },
    ]

    @Test func withinEveryBoundIsTaken() {
        #expect(Self.directive.limitProblem == nil)
    }

    @Test(arguments: excesses)
    func beyondAnyBoundIsRefusedAndSaysWhich(_ excess: Excess) throws {
        var directive = Self.directive
        excess.make(&directive)
        let problem = try #require(directive.limitProblem)
        #expect(problem.contains(excess.words))
        #expect(problem.utf8.count < 200)
    }
}
