// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ControlAPI
import Foundation
import Synchronization
import Testing

import UpgradeModel

@testable import Operator
@testable import UpgradeEngine

@Suite(.timeLimit(.minutes(5)))
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
        var facts = FactLines(began: SampleRun.began)
        let told = back.entries.flatMap { facts.add(.known($0)) }.flatMap(\.lines)
        #expect(told.contains { $0.contains("  turned back: ") })
    }

    @Test(
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

    /// A script has to notice that somebody is not served.
    @Test(arguments: [(RunState.done, 6), (.rolledBack, 4)] as [(RunState, Int32)])
    func aRunThatHasLeftDatabasesOutEndsWithACodeOfItsOwn(
        state: RunState, code: Int32
    ) async throws {
        var view = SampleRun.view(
            state, version: 0, reason: "left out: shop: it failed", advice: "run it again")
        view.leftOut = ["shop: it failed"]
        let seen = view
        let server = try FakeCoordinator { _ in
            .stream {
                $0.event("view", seen)
                $0.waitForEnd()
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .lines, console).rawValue == code)
        #expect(console.lines.contains("sluice: done: run it again") == (code == 6))
        #expect(try await watch(server, style: .json, TestConsole()).rawValue == code)
        let lines = RunScreen(view: view).lines(width: 100).map(\.plain)
        #expect(lines.contains { $0.hasPrefix("because") && $0.hasSuffix("shop: it failed") })
        #expect(lines.contains { $0.hasPrefix("next") && $0.hasSuffix("run it again") })
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

    @Test(arguments: ["fact", "view"])
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

    @Test func whatANewerCoordinatorTellsIsShownAndEndsNothing() async throws {
        let run = SampleRun.straight()
        let newer =
            #"{"at":1795372143500,"epoch":4,"event":{"cause":["x",1.5,true,null],"type":"hook-paused\u202E","version":1},"version":2}"#
        let view =
            #"{"summary":{"run":"20261122-182903-k3","state":"hibernating","phase":"thaw"},"version":2,"nodes":7}"#
        let server = try FakeCoordinator { _ in
            .stream { peer in
                peer.event("fact", run.entries[0], identifier: 1)
                peer.write("event: fact\nid: 2\ndata: \(newer)\n\n")
                peer.write("event: view\ndata: \(view)\n\n")
                peer.event("view", SampleRun.view(.done, version: 2))
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .lines, console) == .done)
        #expect(
            console.lines.last
                == "+0.500s  hook-paused\u{FFFD}: of a coordinator that is newer than this program")
        let program = TestConsole()
        #expect(try await watch(server, style: .json, program) == .done)
        // As it came, for a program that may know it.
        #expect(
            program.lines.contains(
                #"{"entry":\#(newer),"type":"fact"}"#.replacing("202E", with: "202e")))
    }

    @Test func aRunThatANewerCoordinatorShowsHasItsStateAndWhatToDo() async throws {
        let view =
            #"{"summary":{"run":"20261122-182903-k3","state":"waiting","phase":"thaw"},"version":2,"advice":"sluice retry","step":"thaw the replica"}"#
        let server = try FakeCoordinator { _ in .text(200, view) }
        let console = TestConsole()
        let command = try StatusCommand.parse([
            "20261122-182903-k3", "--coordinator", server.url,
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(
            console.lines.prefix(4) == [
                "run       20261122-182903-k3, waiting for a person", "phase     thaw",
                "step      thaw the replica", "next      sluice retry",
            ])
        #expect(console.lines.last?.contains("newer than this program") == true)
        let options = try RequestOptions.parse(["20261122-182903-k3", "--coordinator", server.url])
        let request = TestConsole()
        #expect(await exitCode { try await options.send(.retry, request.console()) } == 0)
        #expect(request.out.contains("retry accepted; it is waiting for a person, phase thaw"))
    }

    @Test func aReportOfANewerCoordinatorsJournalNamesWhatItLacks() async throws {
        var journal = String(
            decoding: try JSONEncoder().encode(SampleRun.straight().journal), as: UTF8.self)
        journal = journal.replacing(
            #""entries":["#,
            with:
                #""entries":[{"version":0,"at":0,"epoch":1,"event":{"type":"thawed","version":9}},"#
        )
        let server = try FakeCoordinator { [journal] _ in .text(200, journal) }
        let console = TestConsole()
        let command = try ReportCommand.parse([
            "20261122-182903-k3", "--coordinator", server.url,
        ])
        #expect(await exitCode { try await command.perform(console.console()) } == 0)
        #expect(console.err.contains("newer than this program: thawed"))
        #expect(console.out.contains("write window            1.31s"))
    }

    @Test func ofManyNodesAPipeGetsCountsAndTheNamesOfThoseThatFail() throws {
        var run = SampleRun(nodes: 9900)
        run.begin(.preflight, .present)
        for node in 1...9900 { run.reach(node, each: node % 9 == 0 ? 1 : 0) }
        run.begin(.stage, .staged)
        for node in 1...9900 { run.reach(node, each: 0) }
        for node in 1...100 { run.fail(node, "the disk is full") }
        run.begin(.readOnly, .closed)
        var facts = FactLines()
        let lines = run.entries.flatMap { facts.add(.known($0)) }.flatMap(\.lines)
        #expect(
            lines == [
                "+0.000s  run 20261122-182903-k3: guestbook to v2 on 9900 nodes, started by ada",
                "+0.000s  preflight: hear from every node",
                "+1.000s  9000 nodes reached", "+1.100s  9900 nodes reached",
                "+1.100s  stage: stage the release and warm it", "+1.100s  9900 nodes reached",
            ] + (1...20).map { "+1.100s  web-\($0) failed: the disk is full" } + [
                "+1.100s  80 nodes more failed", "+1.100s  read-only: close the gates",
            ])
    }

    @Test func aCountIsToldEvenWhenNothingMoreHappens() async throws {
        var run = SampleRun(nodes: 100)
        run.begin(.preflight, .present)
        for node in 1...70 { run.reach(node, each: 0) }
        let entries = run.entries
        let console = TestConsole()
        let server = try FakeCoordinator { _ in
            .stream { peer in
                for entry in entries { peer.event("fact", entry, identifier: entry.version) }
                peer.waitForEnd()
            }
        }
        let exit = try await watch(server, style: .lines, console) {
            while !console.out.contains("70 nodes reached") {
                try? await Task.sleep(for: .milliseconds(5))
            }
        }
        #expect(exit == .detached)
    }

    @Test func findingsOfPreflightAreALineEachAndSaidOnce() {
        let finding = Diagnostic(
            .error, code: "superuser", "app is a superuser", advice: "ALTER ROLE app NOSUPERUSER")
        let other = Diagnostic(.warning, code: "slow", "a vacuum\nis under way")
        var run = SampleRun()
        let message = "the database is not ready: app is a superuser"
        run.add(
            .databaseTaskEnded(
                DatabaseTaskEnded(
                    kind: .preflight, attempt: 1, result: .failed,
                    failure: DatabaseFailure(
                        code: "preflight", message, findings: [finding, other]))))
        run.add(
            .turnedBack(
                TurnedBack(reason: "look over the database failed: \(message)", stamp: nil)))
        var facts = FactLines()
        #expect(
            run.entries.dropFirst().flatMap { facts.add(.known($0)) }.flatMap(\.lines) == [
                "+0.000s  database: look over the database failed: 2 findings",
                "    error: app is a superuser; ALTER ROLE app NOSUPERUSER [superuser]",
                "    warning: a vacuum is under way [slow]",
                "+0.000s  refused: look over the database failed, see above",
            ])
    }

    @Test func aTracebackKeepsItsLines() {
        var run = SampleRun()
        run.fail(1, "start-app failed: Traceback\n  File \"a.py\"\nKeyError: \u{1B}[31mx\n\n")
        var facts = FactLines()
        #expect(
            run.entries.dropFirst().flatMap { facts.add(.known($0)) }.flatMap(\.lines) == [
                "+0.000s  web-1 failed: start-app failed: Traceback", "      File \"a.py\"",
                "    KeyError: \u{FFFD}[31mx",
            ])
    }

    @Test func ofViewsThatPiledUpOnlyTheLatestIsShown() async throws {
        let server = try FakeCoordinator { _ in
            .stream { peer in
                // One write, so that they come at once.
                var text = ""
                for version in 1...50 {
                    let view = SampleRun.view(version == 50 ? .done : .running, version: 0)
                    let data = (try? JSONEncoder().encode(view)) ?? Data()
                    text += "event: view\ndata: \(String(decoding: data, as: UTF8.self))\n\n"
                }
                peer.write(text)
            }
        }
        let console = TestConsole()
        #expect(try await watch(server, style: .json, console) == .done)
        #expect(console.lines.filter { $0.contains("\"type\":\"view\"") }.count < 50)
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
