// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Foundation
import Synchronization
import Testing
import UpgradeEngine
import UpgradeModel

@testable import Operator

@Suite("Watching a run", .timeLimit(.minutes(5)))
struct WatchTests {
    private func watch(
        _ server: FakeCoordinator, style: WatchStyle, _ console: TestConsole,
        patience: Duration = .seconds(20),
        interruption: @escaping @Sendable () async -> Void = {
            try? await Task.sleep(for: .seconds(3600))
        }
    ) async throws -> CommandExit {
        let client = CoordinatorClient(
            try Operator.Connection(url: server.url, token: nil, authorities: nil))
        return try await Watch(
            follower: RunFollower(client: client, run: SampleRun.identifier, patience: patience),
            style: style,
            console: console.console(terminal: style == .live), interruption: interruption
        ).perform()
    }

    @Test func aPipeGetsOneLineAFact() async throws {
        let run = SampleRun.straight()
        let server = try FakeCoordinator { _ in
            .stream { peer in
                for entry in run.entries { peer.event("fact", entry, identifier: entry.version) }
                peer.event("view", SampleRun.view(.done, version: Int64(run.entries.count)))
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .lines, console) == .done)
        #expect(console.lines.count == run.entries.count)
        #expect(
            console.lines.first
                == "+0.000s  run 20261122-182903-k3: guestbook to v2 on 3 nodes, started by ada")
        #expect(console.lines.contains("+1.670s  web-1 reached"))
        #expect(console.lines.contains("+1.660s  read-only: close the gates"))
        #expect(
            console.lines.contains(
                "+2.862s  database: migrate the schema done in 1.10s: applied 0003_split_author (1095 ms)"
            ))
        #expect(console.lines.last == "+3.074s  done")
    }

    @Test func aRefusedRunSaysSoWithTheReasonFirst() async throws {
        let run = SampleRun.refused()
        let server = try FakeCoordinator { _ in
            .stream { peer in
                for entry in run.entries { peer.event("fact", entry, identifier: entry.version) }
                peer.event("view", SampleRun.view(.refused, version: Int64(run.entries.count)))
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .lines, console) == .refused)
        #expect(
            console.lines.suffix(2).map { $0.drop { $0 != " " }.dropFirst(2) } == [
                "refused: hear from every node failed on web-1: it serves v0, and the plan expects v1; next: correct release.expected",
                "nothing was touched",
            ])
        let report = try #require(RunReport(run.journal))
        let lines = ReportText(report).lines(width: 200).map(\.plain)
        #expect(lines.contains { $0.contains("refused: hear from every node failed") })
        #expect(lines.contains { $0.hasPrefix("next") && $0.hasSuffix("correct release.expected") })
        let back = SampleRun.rolledBack()
        var facts = FactLine(began: SampleRun.began)
        #expect(back.entries.map { facts.line($0) }.contains { $0.contains("  turns back: ") })
    }

    @Test(
        "The exit code is the run's",
        arguments: [
            (RunState.done, 0), (.refused, 3), (.rolledBack, 4), (.waiting, 5),
            (.awaitingApproval, 5),
        ] as [(RunState, Int32)])
    func theExitCodeIsTheRuns(state: RunState, code: Int32) async throws {
        let server = try FakeCoordinator { _ in
            .stream {
                $0.event("view", SampleRun.view(.running, version: 0))
                $0.event("view", SampleRun.view(state, version: 0))
                $0.waitForEnd()
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .json, console).rawValue == code)
        let last = try #require(console.lines.last)
        let end = try JSONDecoder().decode(WatchRecord.End.self, from: Data(last.utf8))
        #expect(end.type == "ended" && end.state == state && end.exitCode == code)
    }

    @Test func theWatchOutlivesARestartOfTheCoordinatorAndTellsEachFactOnce() async throws {
        let run = SampleRun.straight()
        let half = run.entries.count / 2
        let connections = Mutex(0)
        let server = try FakeCoordinator { request in
            let connection = connections.withLock { count in
                count += 1
                return count
            }
            switch connection {
            case 1:
                return .stream { peer in
                    for entry in run.entries.prefix(half) {
                        peer.event("fact", entry, identifier: entry.version)
                    }
                    // Killed in the middle of an event.
                    peer.write("event: fact\ndata: {\"ver")
                }
            case 2, 3:
                return .text(503, "not JSON: a proxy's page")
            default:
                #expect(request.headers["last-event-id"] == "\(half)")
                // This one does not know that header and begins again.
                return .stream { peer in
                    for entry in run.entries {
                        peer.event("fact", entry, identifier: entry.version)
                    }
                    peer.event("view", SampleRun.view(.done, version: Int64(run.entries.count)))
                }
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .lines, console) == .done)
        let facts = console.lines.filter { $0.hasPrefix("+") }
        #expect(facts.count == run.entries.count)
        #expect(console.lines.contains("sluice: the coordinator is back"))
    }

    @Test func factsThatTheStreamDoesNotBringAreReadFromTheJournal() async throws {
        let run = SampleRun.straight()
        let server = try FakeCoordinator { request in
            if request.path.hasSuffix("/journal") { return .json(run.journal) }
            return .stream { peer in
                peer.event("fact", run.entries[20])
                peer.event("view", SampleRun.view(.done, version: Int64(run.entries.count)))
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .lines, console) == .done)
        #expect(console.lines.count == run.entries.count)
    }

    @Test func interruptionDetachesAndSaysHowToAttachAgain() async throws {
        let server = try FakeCoordinator { _ in
            .stream { peer in
                peer.event("view", SampleRun.view(.running, version: 0))
                peer.waitForEnd()
            }
        }
        let console = TestConsole()
        let exit = try await watch(server, style: .live, console) {
            // Ctrl-C once the table is there.
            while !console.out.contains("upgrade batch 2") {
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
        #expect(exit == .detached && exit.rawValue == 130)
        #expect(
            console.err
                == "sluice: detached; run 20261122-182903-k3 goes on. Watch it again: sluice status 20261122-182903-k3 --watch\n"
        )
        #expect(console.out.hasSuffix("\u{1B}[?25h"))
    }

    @Test func aCoordinatorThatStaysAwayEndsTheWatchWithAnError() async throws {
        let server = try FakeCoordinator { _ in .text(503, "") }
        let console = TestConsole()
        await #expect(throws: CommandFailure.self) {
            _ = try await watch(server, style: .lines, console, patience: .milliseconds(300))
        }
    }

    @Test func aRunThatIsNotThereIsAnErrorAtOnce() async throws {
        let server = try FakeCoordinator { _ in
            .json(
                404,
                APIError(
                    code: "not-found", message: "there is no run x", advice: "see `sluice status`"))
        }
        let console = TestConsole()
        do {
            _ = try await watch(server, style: .lines, console)
            Issue.record("it was watched")
        } catch let failure as CommandFailure {
            #expect(
                failure.code == "not-found" && failure.exit == .error
                    && failure.message == "there is no run x")
        }
        #expect(server.requests.count == 1)
    }

    @Test(
        "What is not understood ends the watch and does not repeat it", arguments: ["fact", "view"])
    func whatIsNotUnderstoodEndsTheWatch(event: String) async throws {
        let server = try FakeCoordinator { _ in
            .stream { $0.event(event, ["from": "a newer program"]) }
        }
        let failure = await #expect(throws: CommandFailure.self) {
            _ = try await watch(server, style: .lines, TestConsole())
        }
        #expect(failure?.code == "protocol")
        #expect(server.requests.count == 1)
    }

    @Test func aStreamThatTellsNothingIsALostConnection() async throws {
        let server = try FakeCoordinator { _ in .stream { _ in } }
        let console = TestConsole()
        let failure = await #expect(throws: CommandFailure.self) {
            _ = try await watch(server, style: .lines, console, patience: .milliseconds(300))
        }
        #expect(failure?.code == "unreachable")
        #expect(console.lines.count == 1)
    }
}
