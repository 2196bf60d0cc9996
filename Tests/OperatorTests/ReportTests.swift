// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Foundation
import Testing
import UpgradeModel

@testable import Operator
@testable import UpgradeEngine

@Suite
struct ReportTests {
    private func text(_ run: SampleRun, width: Int) throws -> String {
        let report = try #require(RunReport(run.journal))
        return ReportText(report).lines(width: width).map(\.plain).joined(separator: "\n")
    }

    private func page(_ run: SampleRun) throws -> String {
        ReportPage(try #require(RunReport(run.journal))).text
    }

    @Test func whatTheGatesHeldAndRefusedAndWhatPreflightWarnedOfIsInTextAndPage() throws {
        var report = try #require(RunReport(SampleRun.straight().journal))
        report.nodes[0].gate = GateFigures(
            writesHeld: 120, readsHeld: 7, sessionReadsHeld: 5, writesRefused: 2, readsRefused: 1,
            longestWait: .milliseconds(1310), unasked: 0)
        report.nodes[1].warnings = ["768 connections <"]
        report.nodes[2].warnings = ["768 connections <"]
        let text = ReportText(report).lines(width: 100).map(\.plain).joined(separator: "\n")
        #expect(text.contains("web-2, web-3: 768 connections <"))
        #expect(text.contains("LONGEST WAIT") && text.contains("1.31s") && text.contains("120"))
        #expect(!text.contains("PAST THE GATE"))
        let page = ReportPage(report).text
        #expect(
            page.contains("Held and refused") && page.contains("web-2, web-3: 768 connections &lt;")
        )
        #expect(!text.contains("cut off"))
        report.nodes[0].cut = 3
        report.nodes[2].cut = 1
        let cut = ReportText(report).lines(width: 120).map(\.plain).joined(separator: "\n")
        #expect(cut.contains("4 connections to the old release on 2 nodes"))
        report.nodes[0].gate?.unasked = 4
        let more = ReportText(report).lines(width: 120).map(\.plain).joined(separator: "\n")
        #expect(more.contains("PAST THE GATE"))
    }

    @Test func eachRunOfTheMigrationToolIsInTextAndPageWithTheLastThatItSaid() throws {
        var report = try #require(RunReport(SampleRun.straight().journal))
        func entry(
            _ phase: Phase, _ state: TaskOutcome.State, _ said: String, preview: String? = nil
        )
            -> RunReport.ToolEntry
        {
            RunReport.ToolEntry(
                direction: .forward, at: report.createdAt,
                ended: ToolEnded(
                    task: TaskIdentity(rawValue: "r/nodes.tool/tool/migrate/1"), state: state,
                    output: said, duration: .seconds(2), preview: preview), phase: phase)
        }
        report.tools = [
            entry(.stage, .done, "", preview: ""), entry(.finish, .failed, "Applying <0004>\nno"),
        ]
        let text = ReportText(report).lines(width: 100).map(\.plain).joined(separator: "\n")
        #expect(text.contains("stage: the migration tool has said what it would do after 2.00s"))
        #expect(text.contains("finish: the migration tool failed after 2.00s"))
        #expect(text.contains("Applying <0004>"))
        let page = ReportPage(report).text
        #expect(page.contains("Migration tool") && page.contains("Applying &lt;0004&gt;"))
    }

    // MARK: Text

    @Test func aStraightRunIsReported() throws {
        #expect(
            try text(.straight(), width: 100) == """
                Run 20261122-182903-k3: guestbook to v2
                outcome                 done
                write window            1.31s
                migration               1.10s
                window minus migration  219ms
                release                 v1 → v2, manifest aaaaaaaaaaaa
                plan                    plans/guestbook-v2.yaml, digest dddddddddddd
                started                 2026-11-22T18:29:03Z by ada
                took                    3.07s
                nodes                   3

                phases
                PHASE        BEGAN   TOOK
                preflight  +0.000s  110ms
                stage      +0.110s  1.55s
                read-only  +1.660s   55ms
                drain      +1.715s   27ms
                migrate    +1.742s  1.12s
                rollout    +2.862s   80ms
                verify     +2.942s   15ms
                lift       +2.957s   22ms
                finish     +2.979s   95ms

                nodes
                NODE   BATCH   STAGED   CLOSED  DRAINED  UPGRADED  VERIFIED   OPENED
                web-1      1  +0.610s  +1.670s  +1.720s   +2.902s   +2.947s  +2.971s
                web-2      2  +1.110s  +1.680s  +1.725s   +2.922s   +2.952s  +2.975s
                web-3      2  +1.610s  +1.690s  +1.730s   +2.942s   +2.957s  +2.979s

                database
                +0.030s     look over the database: done in 70ms
                +1.610s     apply the expand migrations: done in 41ms
                            applied 0002_recent_entries (41 ms)
                +1.690s     raise the fence: done in 20ms
                +1.730s     prove that no writer is left: done in 10ms
                +1.757s     migrate the schema: done in 1.10s
                            applied 0003_split_author (1095 ms)
                +2.957s     lower the fence: done in 9ms
                +2.979s     apply the contract migrations: done in 3ms

                census
                            no transaction older than 7345 was left; nothing of an application lies beyond 0/1A2B3C8
                            stored state to restore: cccccccccccc
                            ended: app, gunicorn, 2.1 s, INSERT INTO entry
                """)
    }

    @Test func aRunThatTurnedBackIsReported() throws {
        let text = try text(.rolledBack(), width: 80)
        #expect(
            text.hasPrefix(
                """
                Run 20261122-182903-k3: guestbook to v2
                outcome                 rolled back
                because                 upgrade the canary failed on web-1: the page says
                                        <b>500</b> & "more"
                write window            1.99s
                migration               1.10s
                undoing it              400ms
                window minus migration  494ms

                """))
        #expect(
            text.hasSuffix(
                """
                what went wrong
                +3.162s     another coordinator took over (epoch 5)
                +3.162s     web-1 failed: the page says <b>500</b> & "more"
                +3.162s     turned back: upgrade the canary failed on web-1: the page says
                            <b>500</b> & "more"
                """))
        #expect(text.contains("undo migrate    +3.222s  410ms\n"))
    }

    @Test(arguments: [40, 80, 200])
    func noLineIsWiderThanAsked(width: Int) throws {
        for line in try text(.rolledBack(), width: width).split(separator: "\n") {
            #expect(columns(of: String(line)) <= max(width, 44))
        }
    }

    @Test func aRunInTheMiddleIsReportedSoFar() throws {
        var run = SampleRun()
        run.runToMigration()
        let text = try text(run, width: 100)
        #expect(text.contains("outcome                 running\n"))
        #expect(text.contains("write window            writes are still closed\n"))
        #expect(text.contains("took                    2.86s so far\n"))
    }

    @Test func longListsAreShortenedForPeopleAndWholeForPrograms() throws {
        var report = try #require(RunReport(SampleRun.straight().journal))
        let long = String(repeating: "INSERT INTO entry ", count: 400)
        report.census?.ended = (1...500).map { "app, gunicorn \($0), 2.1 s, \(long)" }
        let lines = ReportText(report).lines(width: 100).map(\.plain)
        #expect(lines.allSatisfy { columns(of: $0) <= 100 })
        #expect(lines.contains { $0.hasSuffix("460 more transactions, in the report's JSON") })
        #expect(lines.count < 250)
        #expect(jsonLine(ReportRecord(report)).contains("gunicorn 500"))
    }

    @Test func aTracebackInAReportKeepsItsLines() throws {
        var run = SampleRun()
        run.fail(1, "start-app failed: Traceback\n  File a.py\nKeyError: x")
        let text = try text(run, width: 80)
        #expect(
            text.hasSuffix(
                """
                +0.000s     web-1 failed: start-app failed: Traceback
                            File a.py
                            KeyError: x
                """))
        #expect(try page(run).contains("Traceback\n  File a.py\nKeyError: x"))
    }

    // MARK: The page

    @Test func noLabelOfTheAxisIsCutOff() throws {
        var run = SampleRun()
        run.add(.ended(Ended(outcome: .done)), after: 5000)
        let marks = try page(run).matches(
            of: /<text class="soft" x="([0-9.]+)" y="11" text-anchor="([a-z]+)">([^<]*)</)
        let last = try #require(marks.last)
        #expect(last.1 == "990" && last.2 == "end" && last.3 == "5.00s")
        #expect(marks.dropLast().allSatisfy { $0.2 == "middle" })
    }

    @Test func theWindowOfAStuckRunIsShownUntilItStopped() throws {
        var run = SampleRun()
        run.runToMigration()
        run.add(
            .stopped(Stopped(reason: "the way back failed", advice: "sluice retry")), after: 100)
        run.add(
            .retried(RequestStamp(request: "r", by: OperatorName(unchecked: "ada"), reason: nil)),
            after: 3_600_000)
        let page = try page(run)
        let pictures = page.split(separator: "<svg").dropFirst()
        #expect(pictures.count == 2)
        // Of the second picture, an hour would have ticks of minutes.
        #expect(pictures.last?.contains(">2.00s<") == true)
        #expect(page.contains("The write window, writes are still closed"))
    }

    @Test(arguments: [SampleRun.straight(), SampleRun.rolledBack()])
    func aPageLoadsNothingAndRunsNothing(run: SampleRun) throws {
        let page = try page(run)
        for forbidden in [
            "<script", "<link", "<img", "<iframe", "<object", "<form", "@import", "url(", "http:",
            "https:", " on", "style=\"",
        ] {
            // "http-equiv" and words such as " on web-1" are no references and no handlers.
            let harmless = page.replacing("http-equiv", with: "").replacing(" on web-", with: "")
            if forbidden == " on" {
                #expect(harmless.firstMatch(of: /<[^>]* on[a-z]+=/) == nil)
            } else {
                #expect(!harmless.contains(forbidden), "\(forbidden)")
            }
        }
    }

    @Test func thePolicyAllowsThisStyleSheetAndNothingElse() throws {
        let page = try page(.straight())
        let style = try #require(page.firstMatch(of: /<style>([^<]*)<\/style>/)?.1)
        let digest = Digest.sha256(of: String(style))
        let bytes = stride(from: 0, to: 64, by: 2).compactMap {
            UInt8(digest.hexadecimal.dropFirst($0).prefix(2), radix: 16)
        }
        let policy =
            "default-src &#39;none&#39;; style-src &#39;sha256-\(Data(bytes).base64EncodedString())&#39;; "
        #expect(
            page.contains(
                "content=\"\(policy)base-uri &#39;none&#39;; form-action &#39;none&#39;\""))
    }

    @Test func textFromANodeStaysText() throws {
        let page = try page(.rolledBack())
        #expect(page.contains("&lt;b&gt;500&lt;/b&gt; &amp; &quot;more&quot;"))
        #expect(!page.contains("<b>"))
    }

    @Test(arguments: [SampleRun.straight(), SampleRun.rolledBack()])
    func everyElementIsClosedWhereItShouldBe(run: SampleRun) throws {
        var open: [String] = []
        for match in try page(run).matches(of: /<(\/?)([a-zA-Z0-9]+)[^>]*>/) {
            let name = String(match.2)
            if name == "meta" { continue }
            if match.1.isEmpty { open.append(name) } else { #expect(open.popLast() == name) }
        }
        #expect(open.isEmpty)
    }

    @Test func thePictureHasALaneANodeAndTheWindowShaded() throws {
        let page = try page(.straight())
        let pictures = page.split(separator: "<svg").dropFirst()
        #expect(pictures.count == 2)
        for picture in pictures {
            #expect(picture.matches(of: /class="lane"/).count == 3)
            #expect(picture.matches(of: /<rect class="window"/).count == 1)
            #expect(picture.contains("role=\"img\""))
            #expect(picture.contains("<title>write window 1.31s</title>"))
        }
        // The whole run: 1.660 s to 2.979 s of 3.074 s, over 860 units from 130.
        #expect(page.contains("<rect class=\"window\" x=\"594.4\" y=\"0\" width=\"369\""))
    }

    @Test func aPictureOfManyNodesShowsThoseWithSomethingToTell() throws {
        var report = try #require(RunReport(SampleRun.rolledBack().journal))
        let failed = report.nodes[0]
        report.nodes =
            (1...500).map {
                RunReport.NodeEntry(name: NodeName(unchecked: "n-\($0)"), milestones: [])
            } + [failed]
        let page = ReportPage(report).text
        let whole = try #require(page.split(separator: "<figure>").dropFirst().first)
        #expect(whole.contains("60 of 501 nodes"))
        #expect(whole.contains(">web-1</text>"))
    }

    @Test(
        arguments: [(1, 1), (10, 1), (11, 2), (3074, 500), (60_000, 10_000), (3_600_000, 500_000)]
            as [(Int64, Int64)])
    func ticksAreRound(length: Int64, step: Int64) {
        #expect(ReportPicture.tick(length) == step)
    }
}

extension SampleRun: CustomTestStringConvertible {
    var testDescription: String { "\(entries.count) events" }
}
