// SPDX-License-Identifier: Apache-2.0

import ControlAPI
import Foundation
import Testing
import UpgradeEngine
import UpgradeModel

@testable import Operator

@Suite
struct RunScreenTests {
    static let closed = GateObservation(writes: .hold, writesInFlight: 1, writesWaiting: 7)

    static let nodes = [
        SampleRun.row(
            1, reached: nil, batch: 1, status: SampleRun.status(release: "v2", gate: closed)),
        SampleRun.row(
            2, reached: true, batch: 2, status: SampleRun.status(release: "v2", gate: closed)),
        SampleRun.row(
            3, reached: false, batch: 2, seen: .seconds(42),
            status: SampleRun.status(
                gate: closed,
                failures: [NodeFailure(goal: .activate, message: "the disk\nis \u{1B}[31mfull")])),
    ]

    private func text(_ view: RunView, width: Int, height: Int = .max) -> String {
        RunScreen(view: view).lines(width: width, height: height).map(\.plain).joined(
            separator: "\n")
    }

    @Test func a120ColumnScreenShowsEverything() {
        #expect(
            text(SampleRun.view(nodes: Self.nodes), width: 120) == """
                run 20261122-182903-k3  guestbook to v2  running  3.25s
                phase     rollout: upgrade batch 2  1/2 nodes  batch 2 of 2
                writes    closed for 1.55s, 21 held

                NODE   BATCH  STEP     RELEASE  GATE  HELD  IN FLIGHT   SEEN  NOTE
                web-1      1  -        v2       hold     7          1    now
                web-2      2  reached  v2       hold     7          1    now
                web-3      2  waiting  v1       hold     7          1  42.0s  the disk is �[31mfull
                """)
    }

    @Test func an80ColumnScreenLeavesOutWhatMattersLeast() {
        #expect(
            text(SampleRun.view(nodes: Self.nodes), width: 80) == """
                run 20261122-182903-k3  guestbook to v2  running  3.25s
                phase     rollout: upgrade batch 2  1/2 nodes  batch 2 of 2
                writes    closed for 1.55s, 21 held

                NODE   BATCH  STEP     RELEASE  GATE  HELD  IN FLIGHT   SEEN
                web-1      1  -        v2       hold     7          1    now
                web-2      2  reached  v2       hold     7          1    now
                web-3      2  waiting  v1       hold     7          1  42.0s
                """)
    }

    @Test(arguments: [20, 30, 40, 60, 80, 120])
    func noLineIsWiderThanTheTerminal(width: Int) {
        let view = SampleRun.view(
            .waiting, nodes: Self.nodes,
            reason: "upgrade batch 2 failed on web-3: the disk is full",
            advice: "`sluice retry 20261122-182903-k3` tries the step again")
        for line in RunScreen(view: view).lines(width: width) {
            #expect(columns(of: line.plain) <= width)
        }
    }

    @Test func aLowTerminalShowsTheNodesThatNeedLookingAt() {
        let rows =
            (1...200).map { SampleRun.row($0, reached: true, batch: 1, status: SampleRun.status()) }
            + [SampleRun.row(201, reached: false, batch: 1, status: SampleRun.status())]
            + [SampleRun.row(202, reached: nil, batch: 1, status: nil, quarantine: "unhealthy")]
        let lines = RunScreen(view: SampleRun.view(nodes: rows)).lines(width: 100, height: 12).map(
            \.plain)
        #expect(lines.count <= 12)
        #expect(lines[5].hasPrefix("web-202"))
        #expect(lines[6].hasPrefix("web-201"))
        #expect(lines.last == "… and 197 more nodes")
    }

    @Test func ofAShortenedViewTheScreenCountsAllNodes() {
        let rows = (1...500).map {
            SampleRun.row(
                $0, reached: $0 > 3, batch: 1, status: SampleRun.status(gate: Self.closed))
        }
        let whole = SampleRun.view(nodes: rows)
        for height in [12, 24] {
            #expect(
                text(whole.shortened(to: 200), width: 100, height: height)
                    == text(whole, width: 100, height: height))
        }
        #expect(text(whole.shortened(to: 200), width: 100).contains("497/500 nodes"))
        #expect(text(whole.shortened(to: 200), width: 100).hasSuffix("… and 300 more nodes"))
    }

    @Test func aScreenSaysWhyARunWaitsAndWhatToDo() {
        let view = SampleRun.view(
            .waiting, reason: "the health check of web-2 failed", advice: "`sluice retry R`")
        let text = text(view, width: 80)
        #expect(text.contains("because   the health check of web-2 failed"))
        #expect(text.contains("next      `sluice retry R`"))
        #expect(text.contains("waiting for a person"))
    }

    @Test func theElapsedWindowGoesOnBetweenTwoViews() {
        let screen = RunScreen(view: SampleRun.view(), age: .milliseconds(450))
        #expect(screen.lines(width: 80).map(\.plain).contains("writes    closed for 2.00s, 0 held"))
    }

    @Test func theTimeOfAnEndedRunStandsStill() {
        var view = SampleRun.view(.done)
        view.now = SampleRun.began + .minutes(9)
        view.summary.endedAt = SampleRun.began + .milliseconds(2930)
        #expect(text(view, width: 80).contains("guestbook to v2  done  2.93s"))
    }

    @Test func anyCountsOfNodesAreShown() {
        let gate = GateObservation(
            writes: .hold, readsHeld: true, writesInFlight: .max, writesWaiting: .max,
            readsWaiting: .max, writesRefused: .max, readsRefused: .max, writesReleased: .min)
        var status = SampleRun.status(gate: gate)
        status.diskFree = .min
        status.staging = StagingProgress(
            release: ReleaseReference(
                name: ReleaseName(unchecked: "v2"), manifest: SampleRun.manifest),
            bytesDone: .min, bytesTotal: .max)
        let rows = (1...3).map { SampleRun.row($0, reached: false, batch: $0, status: status) }
        var view = SampleRun.view(nodes: rows)
        view.nodes[0].lastSeen = .milliseconds(.min)
        view.nodes[1].lastSeen = .milliseconds(.max)
        view.now = Instant(milliseconds: .max)
        let screen = text(view, width: 200)
        #expect(screen.contains("\(Int.max) held, \(Int.max) refused"))
        #expect(screen.contains("reads     \(Int.max) held, \(Int.max) answered 503"))
        let nodes = rows.map {
            NodeView(
                name: $0.name, labels: [:], run: nil, lastSeen: $0.lastSeen, status: $0.status)
        }
        #expect(NodeListing.lines(nodes, width: 200).count == 4)
    }

    @Test(arguments: [
        (Silence.State.silent, 3, "v1 is silent: 3 frozen, 2 cut"),
        (.silent, 0, "v1 is silent: nothing of it runs, 2 cut"), (.waiting, 0, "silences v1"),
        (.failed("ptrace is not allowed; see agent.md"), 0, "ptrace is not allowed; see agent.md"),
        (.idle, 0, ""),
    ])
    func whatHasBecomeOfTheOldReleaseIsNoted(state: Silence.State, frozen: Int, note: String) {
        var status = SampleRun.status()
        status.silenced = Silence(
            release: ReleaseReference(
                name: ReleaseName(unchecked: "v1"), manifest: SampleRun.manifest),
            frozen: frozen, cut: 2, state: state)
        #expect(NodeTable.note(status) == note)
    }

    @Test func releasesOfOneNameAreToldApart() {
        var other = SampleRun.status(release: "v1")
        other.active?.release.manifest = SampleRun.digest("e")
        let view = SampleRun.view(nodes: [
            SampleRun.row(1, reached: nil, batch: 1, status: SampleRun.status(release: "v1")),
            SampleRun.row(2, reached: nil, batch: 2, status: other),
            SampleRun.row(3, reached: nil, batch: 2, status: SampleRun.status(release: "v2")),
        ])
        let screen = text(view, width: 120)
        #expect(screen.contains("v1 bbbbbbbb") && screen.contains("v1 eeeeeeee"))
        #expect(screen.contains("  v2   "))
    }

    @Test func whatIsStillPausedIsShown() throws {
        var view = SampleRun.view(.done)
        view.stillPaused = ["pause-jobs on web-1, until resume-jobs undoes it"]
        #expect(
            text(view, width: 100).contains(
                "paused    pause-jobs on web-1, until resume-jobs undoes it"))
        var report = try #require(RunReport(SampleRun.straight().journal))
        report.stillPaused = view.stillPaused
        #expect(
            ReportText(report).lines(width: 100).map(\.plain).contains(
                "still paused            pause-jobs on web-1, until resume-jobs undoes it"))
    }

    @Test func whoMayBeOfTheOldReleaseIsShownAfterTheRunAsWell() {
        var view = SampleRun.view(.done)
        view.lateSessions = ["older than the window: 1 session of role shop"]
        #expect(
            text(view, width: 100).contains(
                "session   older than the window: 1 session of role shop"))
    }

    @Test func whatTheFenceRefusedIsShownAfterTheRunAsWell() throws {
        var view = SampleRun.view(.done)
        view.refusedTables = ["django_session 412 times"]
        #expect(text(view, width: 100).contains("refused   django_session 412 times"))
        var report = try #require(RunReport(SampleRun.straight().journal))
        #expect(
            !ReportText(report).lines(width: 100).map(\.plain).contains { $0.contains("fence  ") })
        report.refusedTables = view.refusedTables
        #expect(
            ReportText(report).lines(width: 100).map(\.plain).contains(
                "refused by the fence    django_session 412 times"))
    }

    @Test func whomAMigrationWaitsForIsShownWhileItWaits() async {
        var view = SampleRun.view()
        #expect(!text(view, width: 100).contains("waits"))
        let wait = "the migration waits for role ada, application psql, process 7"
        view.waits = [wait]
        #expect(text(view, width: 100).contains("waits     \(wait)"))
        // A pipe has no screen: it gets a line for each that comes.
        let console = TestConsole()
        let display = WatchDisplay(.lines, console: console.console(terminal: false))
        for waits in [[wait], [wait], [wait, "and another"], nil, [wait]] {
            view.waits = waits
            await display.handle(.view(.known(view)))
        }
        #expect(
            console.lines == ["sluice: \(wait)", "sluice: and another", "sluice: \(wait)"])
    }

    @Test func warningsOfPreflightAreShownUntilWritesAreClosed() {
        var view = SampleRun.view(.awaitingApproval)
        view.windowOpened = nil
        let warnings = (1...5).map { "warning: table t\($0) has no owner" }
        let lines = RunScreen(view: view, warnings: warnings).lines(width: 80, height: 24).map(
            \.plain)
        #expect(lines.contains("warning   warning: table t3 has no owner"))
        #expect(lines.contains("          and 2 more, in the report"))
        #expect(
            !RunScreen(view: SampleRun.view(), warnings: warnings).lines(width: 80).contains {
                $0.plain.hasPrefix("warning")
            })
    }

    @Test func aWindowThatIsOverIsShownAsSuch() {
        let view = SampleRun.view(.done, windowClosed: SampleRun.began + .milliseconds(3134))
        #expect(text(view, width: 80).contains("writes    open again, were closed for 1.43s"))
    }
}

@Suite
struct LineTests {
    @Test func coloursAreOnlyAddedWhenAsked() {
        let line = StyledLine("done", .good) + StyledLine(" now")
        #expect(line.text(inColour: false) == "done now")
        #expect(line.text(inColour: true) == "\u{1B}[32mdone\u{1B}[0m now")
    }

    @Test(arguments: [
        ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 6, "日本語"), ("日本語", 5, "日本…"),
        ("abc", 0, ""),
    ])
    func aTextIsFittedToColumns(text: String, width: Int, expected: String) {
        #expect(fitted(text, to: width) == expected)
    }

    @Test func aTextFromOutsideCannotSpeakToTheTerminal() {
        let text = UpgradeModel.printable("a\u{1B}]0;x\u{07}b\nc\td\u{202E}e\u{9B}f")
        #expect(text == "a�]0;x�b c d�e�f")
        // Separators, marks that are not seen, tags; but not the joiner of a family.
        #expect(UpgradeModel.printable("a\u{2028}b\u{61C}c\u{200B}d\u{E0041}e") == "a�b�c�d�e")
        #expect(UpgradeModel.printable("👨\u{200D}👩") == "👨\u{200D}👩")
    }

    @Test(arguments: [
        "\u{9B}31m", "\u{202E}", "\u{2028}", "\u{2069}", "\u{7F}", "\u{E0041}", "\u{FEFF}",
    ])
    func jsonSpeaksToNoTerminalAndReadsBackTheSame(text: String) throws {
        let line = jsonLine(["k": "é 日 " + text])
        #expect(!line.unicodeScalars.contains(where: isHarmful))
        #expect(line.contains("é 日"))
        let read = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
        #expect(read == ["k": "é 日 " + text])
    }

    @Test(
        arguments: [
            (0, "0ms"), (999, "999ms"), (1000, "1.00s"), (4219, "4.21s"), (42_000, "42.0s"),
            (192_000, "3m 12s"),
            (7_500_000, "2h 5m"), (273_600_000, "3d 4h"), (-250, "-250ms"),
        ] as [(Int64, String)])
    func spansAreShort(milliseconds: Int64, text: String) {
        #expect(Span.milliseconds(milliseconds).text == text)
    }

    @Test(
        arguments: [(0, "0 B"), (1023, "1023 B"), (4300, "4.1 KiB"), (5 << 30, "5.0 GiB")]
            as [(Int64, String)])
    func sizesAreShort(count: Int64, text: String) {
        #expect(bytes(count) == text)
    }

    @Test func aColumnWithoutAnythingToSayIsNotShown() {
        let table = Table(
            columns: [Table.Column(title: "A"), Table.Column(title: "B", rank: 1)],
            rows: [["x", ""], ["y", ""]])
        #expect(table.lines(width: 80).map(\.plain) == ["A", "x", "y"])
    }

    @Test func runningTextIsCutBeforeAnotherColumnGivesWay() {
        let table = Table(
            columns: [
                Table.Column(title: "A"), Table.Column(title: "B", rank: 2),
                Table.Column(title: "NOTE", rank: 1, atMost: 200, isText: true),
            ], rows: [["a", "b", "a text that is longer than the table is wide"]])
        #expect(
            table.lines(width: 30).map(\.plain) == ["A  B  NOTE", "a  b  a text that is longer t…"])
        #expect(table.lines(width: 25).map(\.plain) == ["A  NOTE", "a  a text that is longer…"])
    }

    @Test func aFrameIsDrawnOverTheLastOne() {
        var frame = LiveFrame()
        #expect(
            frame.update(["a", "b"])
                == "\u{1B}[?2026h\u{1B}[?25l\ra\u{1B}[K\nb\u{1B}[K\n\u{1B}[?2026l")
        #expect(frame.update(["a", "b"]) == "")
        #expect(frame.update(["c"]) == "\u{1B}[?2026h\u{1B}[2A\rc\u{1B}[K\n\u{1B}[J\u{1B}[?2026l")
        #expect(frame.end() == "\u{1B}[?25h")
        #expect(frame.end() == "")
    }

    @Test(arguments: [true, false])
    func workThatTakesItsTimeSaysSoAndWorkThatDoesNotSaysNothing(terminal: Bool) async {
        let kept = TestConsole()
        var console = kept.console()
        console.isErrorTerminal = terminal
        await console.during("reading x") {}
        #expect(kept.err.isEmpty)
        await console.during("reading \u{1B}x", after: .zero) {
            while kept.err.isEmpty { await Task.yield() }
        }
        #expect(kept.err.contains(/^\r?sluice: reading \u{FFFD}x, [0-9]+ s(\u{1B}\[K|\n)/))
        if terminal { #expect(kept.err.hasSuffix("\r\u{1B}[K")) }
    }

    @Test func nodesAreListedWithTheirLabels() {
        let nodes = [
            NodeView(
                name: NodeName(unchecked: "web-1"), labels: ["zone": "eu-1", "role": "web"],
                run: nil,
                lastSeen: .seconds(2), status: SampleRun.status()),
            NodeView(
                name: NodeName(unchecked: "web-2"), labels: [:], run: nil, lastSeen: nil,
                status: nil),
        ]
        #expect(
            NodeListing.lines(nodes, width: 80).map(\.plain).joined(separator: "\n") == """
                NODE   RELEASE  GATE   SEEN  AGENT  DISK FREE  LABELS
                web-1  v1       open  2.00s  1.0.0    5.0 GiB  role=web zone=eu-1
                web-2  ?        ?     never
                """)
    }

    @Test func runsAreListedNewestFirstAsTheyCome() {
        #expect(
            RunListing.lines([SampleRun.summary(.rolledBack)], width: 120).map(\.plain).joined(
                separator: "\n") == """
                    RUN                 FLEET      RELEASE  STATE        PHASE    BEGAN                 BY
                    20261122-182903-k3  guestbook  v2       rolled back  rollout  2026-11-22T18:29:03Z  ada
                    """)
    }
}
